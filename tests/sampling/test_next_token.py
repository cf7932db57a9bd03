"""Every shortcut of the token loop against the plain form, which is the training form."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import EditARConfig
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_editar import KEYMAP
from jaxedit.models.editar import EditAR, Null, init_params
from jaxedit.sampling import next_token, token_loop
from jaxedit.sampling.decode_weights import unstack
from jaxedit.sampling.methods import guide_tokens, is_guided
from jaxedit.sampling.next_token import Prefix
from jaxedit.sampling.token_loop import State


def golden_case(golden, name: str):
    """Arrays, description, settings and parameters of a golden model."""
    arrays, description = golden(name)
    c = description["config"]
    config = EditARConfig(
        layers=c["n_layer"],
        width=c["dim"],
        heads=c["n_head"],
        kv_heads=c.get("n_kv_head") or 0,
        mlp_hidden=c["ffn_hidden"],
        codes=c["vocab_size"],
        grid=int(c["block_size"] ** 0.5),
        prefix="edit" if c["model_type"] == "edit" else "text",
        text_tokens=c["cls_token_num"],
        text_width=c["caption_dim"],
        distill_width=c.get("teacher_dim", 0),
    )
    state = {key[7:]: x for key, x in arrays.items() if key.startswith("params/")}
    params = from_torch(KEYMAP, {k: np.float32(x) for k, x in state.items()})
    return arrays, c, config, jax.tree.map(jnp.asarray, params)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Greedy:
    """The likeliest token after guidance; records the guided logits."""

    guidance: Any
    until: Any

    def __call__(self, logits, position):
        guided = guide_tokens(logits, self.guidance, 1.0, is_guided(position, self.until))
        token = jnp.argmax(guided, axis=-1).astype(jnp.int32)
        return jnp.broadcast_to(token[:, None], logits.shape[:2]), guided


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Given:
    """The tokens i32[B,R,N] that it is given; records the logits of every row."""

    tokens: Any

    def __call__(self, logits, position):
        return jnp.take_along_axis(self.tokens, position[:, None, None], 2)[:, :, 0], logits


@functools.partial(jax.jit, static_argnames=("config", "steps"))
def run(weights, prefix, condition, mask, policy, *, config, steps):
    """Tokens i32[B,N] of the first row and records [B,N,...]."""
    started = next_token.start(weights, config, prefix, condition, mask, slots=steps + 1)
    state = State(*started, jnp.int32(0))
    decoded = token_loop.decode(weights, config, prefix, state, policy, steps=steps)
    return decoded[1][:, 0], decoded[2]


def check(arrays, name: str, tokens, logits) -> None:
    """Compare with a golden run."""
    np.testing.assert_array_equal(tokens, arrays[f"out/{name}_tokens"])
    if f"out/{name}_logits" in arrays:
        np.testing.assert_allclose(logits, arrays[f"out/{name}_logits"], atol=1e-4)


@pytest.mark.parametrize(
    "name, backend",
    [("llamagen_gpt_tiny", "cpu"), ("llamagen_gpt_gqa", "cpu"), ("llamagen_gpt_gqa", "tpu")],
)
def test_text_to_image_matches_release(golden, name, backend):
    arrays, c, config, params = golden_case(golden, name)
    weights = unstack(config, **params, dtype="float32", backend=backend)
    text = jnp.asarray(arrays["out/text_features_left_padded"])
    mask = jnp.asarray(arrays["out/text_mask_left_padded"], bool)
    null = jnp.broadcast_to(params["null"]["text"][None], text.shape)
    text, mask = jnp.stack([text, null], 1), jnp.stack([mask, mask], 1)
    decode = functools.partial(run, config=config, steps=config.image_tokens)
    policy = Greedy(c["cfg_scale"], -1)
    check(arrays, "greedy_cfg", *decode(weights, Prefix(), text, mask, policy))
    everything = jnp.ones_like(mask)
    check(arrays, "greedy_cfg_nomask", *decode(weights, Prefix(), text, everything, policy))
    interval = Greedy(c["cfg_scale"], c["cfg_interval"])
    check(arrays, "greedy_cfg_interval", *decode(weights, Prefix(), text, mask, interval))
    if backend == "cpu":
        check(arrays, "greedy_nocfg", *decode(weights, Prefix(), text[:, :1], mask[:, :1], policy))


@pytest.fixture(scope="module")
def edit_case(golden):
    """Arrays, settings, parameters and conditions [B,2,T,Ct] of the golden EditAR model."""
    arrays, c, config, params = golden_case(golden, "editar_gpt_tiny")
    text = jnp.asarray(arrays["in/text_features"])
    text = jnp.stack([text, jnp.broadcast_to(params["null"]["text"][None], text.shape)], 1)
    return arrays, c, config, params, text


read = jax.jit(next_token.prefill_image, static_argnames="config")
read_null = jax.jit(next_token.prefill_null, static_argnames="config")


@pytest.mark.parametrize("backend", ["cpu", "tpu"])
def test_edit_matches_release(edit_case, backend):
    arrays, c, config, params, text = edit_case
    weights = unstack(config, **params, dtype="float32", backend=backend)
    decode = functools.partial(run, config=config, steps=config.image_tokens)
    policy, source = Greedy(c["cfg_scale"], -1), jnp.asarray(arrays["in/source_tokens"])
    drop = jnp.asarray(arrays["in/input_mode_mixed"]) == 0
    prefix = read(weights, config, source, drop & False)
    check(arrays, "greedy_cfg", *decode(weights, prefix, text, None, policy))
    if backend == "cpu":
        check(arrays, "greedy_nocfg", *decode(weights, prefix, text[:, :1], None, policy))
        prefix = read(weights, config, source, drop)
        check(arrays, "greedy_cfg_mode", *decode(weights, prefix, text, None, policy))


@pytest.fixture(scope="module")
def dual(edit_case):
    """Three rows per picture with tokens of their own: with text and image, image, nothing."""
    arrays, _, config, params, text = edit_case
    text = jnp.concatenate([text, text[:, 1:]], 1)[:2]
    tokens = np.random.default_rng(0).integers(0, config.codes, (2, 3, config.image_tokens))
    tokens, source = jnp.asarray(tokens, jnp.int32), jnp.asarray(arrays["in/source_tokens"][:2])

    def decode(dtype="float32", text=text, tokens=tokens, source=source):
        weights = unstack(config, **params, dtype=dtype)
        prefix = read(weights, config, source)
        prefix = Prefix(prefix.picture, read_null(weights, config), null_rows=1)
        steps = config.image_tokens
        return run(weights, prefix, text, None, Given(tokens), config=config, steps=steps)[1]

    return config, params, text, tokens, source, decode, decode()


def test_shared_prefix_and_collapsed_text_equal_the_plain_sequence(dual):
    config, params, text, tokens, source, _, logits = dual
    plain = jax.jit(
        lambda text, tokens, drop_text, drop_image: EditAR(config).apply(
            {"params": params["transformer"]},
            text,
            tokens,
            null=Null(**params["null"]),
            source=source,
            drop_text=drop_text,
            drop_image=drop_image,
        )
    )
    for r, (no_text, no_image) in enumerate([(False, False), (True, False), (True, True)]):
        flags = jnp.full(2, no_text), jnp.full(2, no_image)
        expected = plain(text[:, 0], tokens[:, r], *flags).logits
        np.testing.assert_allclose(logits[:, :, r], expected, atol=2e-5, err_msg=f"row {r}")


def test_a_row_is_the_same_bits_whatever_else_is_in_the_batch(dual):
    config, _, text, tokens, source, decode, logits = dual
    other = decode(
        text=text.at[0].multiply(3.0),
        tokens=tokens.at[0].set(tokens[0] // 2).at[1, 1].set(0),
        source=source.at[0].set(5),
    )
    np.testing.assert_array_equal(other[1, :, [0, 2]], logits[1, :, [0, 2]])
    assert np.all(np.any(np.asarray(other[0] != logits[0]), axis=-1))


def test_bfloat16_is_close(dual):
    *_, decode, logits = dual
    got = decode(dtype="bfloat16")
    assert got.dtype == jnp.float32
    assert np.abs(got - logits).max() < 0.05 * np.abs(logits).max()


def test_segments_equal_one_loop(dual):
    config, params, text, tokens, source, _, logits = dual
    weights = unstack(config, **params, dtype="float32")
    prefix = read(weights, config, source)
    prefix = Prefix(prefix.picture, read_null(weights, config), null_rows=1)
    started = jax.jit(next_token.start, static_argnames=("config", "slots"))(
        weights, config, prefix, text, slots=11
    )
    decode = jax.jit(token_loop.decode, static_argnames=("config", "steps"))
    state, inputs = State(*started, jnp.int32(0)), (weights, config, prefix)
    state, first, a, _ = decode(*inputs, state, Given(tokens), steps=10)
    state = state._replace(past=next_token.grow(weights, state.past, 17))
    state, second, b, _ = decode(*inputs, state, Given(tokens), steps=6)
    assert state.position == 16
    np.testing.assert_array_equal(jnp.concatenate([first, second], 2), tokens)
    np.testing.assert_allclose(jnp.concatenate([a, b], 1), logits, atol=1e-5)
    with pytest.raises(ValueError, match="17 slots: expected at least 18 for 17 steps"):
        token_loop.decode(*inputs, state, Given(tokens), steps=17)


def test_class_to_image_equals_the_plain_sequence():
    config = EditARConfig(
        layers=2, width=32, heads=4, mlp_hidden=64, codes=20, grid=3, prefix="class", classes=5,
        distill_width=0,
    )  # fmt: skip
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_params(config, rng.key_for(0, "init")))
    params = jax.tree.map(lambda x: jnp.float32(generator.standard_normal(x.shape) / 3), shapes)
    tokens = jnp.asarray(generator.integers(0, 20, (2, 2, 9)), jnp.int32)
    classes = jnp.array([[3, 5], [0, 5]])  # 5 is no class
    weights = unstack(config, params, {}, "float32")
    _, logits = run(weights, Prefix(), classes, None, Given(tokens), config=config, steps=9)
    plain = jax.jit(lambda *inputs: EditAR(config).apply({"params": params}, *inputs, null=Null()))
    for r in range(2):
        expected = plain(classes[:, r], tokens[:, r]).logits
        np.testing.assert_allclose(logits[:, :, r], expected, atol=1e-4)
