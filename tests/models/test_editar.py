import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import EditARConfig
from jaxedit.models import editar
from jaxedit.models.editar import EditAR, Null, init_null, init_params, left_pad
from jaxedit.sharding.rules import axes_of, state_shardings
from jaxedit.train.losses import token_loss

TINY = EditARConfig(
    layers=2,
    width=16,
    heads=2,
    mlp_hidden=24,
    codes=12,
    grid=4,
    text_tokens=3,
    text_width=6,
    distill_width=5,
    dropout=0.0,
    token_dropout=0.0,
)
B, N, T = 2, TINY.image_tokens, TINY.text_tokens


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


def abstract(config: EditARConfig) -> tree.Tree:
    """Shapes of the parameters."""
    return jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))


@functools.cache
def forward(config: EditARConfig):
    """The jitted forward pass of one config, with the features that the teacher should see."""

    def run(params, *arguments, **options):
        def call(model):
            out = model(*arguments, **options)
            return out, model.align(out.hidden) if config.distill_width else None

        return nn.apply(call, EditAR(config))({"params": params})

    return jax.jit(run)


def random_params(config: EditARConfig) -> tuple[tree.Tree, Null]:
    """Parameters and constants that are all drawn alike; a fresh model's head would be zero."""
    generator = np.random.default_rng(0)

    def draw(leaf):
        return 0.3 * generator.standard_normal(leaf.shape, np.float32)

    null = jax.eval_shape(lambda key: init_null(config, key), jax.random.key(0))
    return jax.tree.map(draw, abstract(config)), Null(**jax.tree.map(draw, null))


@pytest.fixture(scope="module")
def tiny():
    """Parameters, and a forward pass of them by its inputs; rows may lose text or picture."""
    params, null = random_params(TINY)
    generator = np.random.default_rng(1)
    inputs = {
        "text": generator.standard_normal((B, T, TINY.text_width), np.float32),
        "source": generator.integers(0, TINY.codes, (B, N), np.int32),
        "target": generator.integers(0, TINY.codes, (B, N), np.int32),
        "null": null,
        "drop_text": jnp.zeros(B, bool),
        "drop_image": jnp.zeros(B, bool),
    }

    def run(params=params, **changes):
        options = inputs | changes
        return forward(TINY)(params, options.pop("text"), options.pop("target"), **options)

    return params, inputs, run


def test_a_new_model_predicts_all_codes_alike(tiny):
    params, inputs, run = tiny
    head = jax.jit(lambda key: init_params(TINY, key)["head"])(jax.random.key(0))
    out, features = run(params | {"head": head})
    close(token_loss(out.logits, inputs["target"]).loss, np.log(TINY.codes))
    assert out.hidden.shape == (B, N, 16) and features.shape == (B, 4, 5)


def test_logits_depend_on_earlier_tokens_only(tiny):
    _, inputs, run = tiny
    changed = inputs["target"].copy()
    changed[:, 7] = (changed[:, 7] + 1) % TINY.codes
    before, after = run()[0].logits, run(target=changed)[0].logits
    np.testing.assert_array_equal(before[:, :8], after[:, :8])
    assert np.abs(before[:, 8] - after[:, 8]).max() > 1e-3


def test_padding_for_a_kernel_changes_nothing(tiny, monkeypatch):
    params, inputs, run = tiny
    options = inputs | {"text_mask": jnp.arange(T)[None] >= jnp.array([[1], [0]])}
    expected = run(**options)[0].logits
    monkeypatch.setattr(editar, "kernel_length", lambda length, width: length + 5)
    got = EditAR(TINY).apply(
        {"params": params}, options.pop("text"), options.pop("target"), **options
    )
    close(got.logits, expected)


def test_a_row_is_dropped_for_itself(tiny):
    _, _, run = tiny

    def logits(*drop):
        return run(drop_text=jnp.array(drop), drop_image=jnp.array(drop))[0].logits

    neither, mixed, both = logits(False, False), logits(True, False), logits(True, True)
    close(mixed, [both[0], neither[1]])
    close(both[0, 0], both[1, 0])  # nothing is left that differs
    assert np.abs(neither[0, 0] - neither[1, 0]).max() > 1e-3


def test_dropout_is_off_unless_asked_for(tiny):
    params, inputs, run = tiny
    config = dataclasses.replace(TINY, dropout=0.5, token_dropout=0.5)
    options = {name: x for name, x in inputs.items() if name not in ("text", "target")}

    def logits(params, key, deterministic=False):
        return (
            EditAR(config)
            .apply(
                {"params": params},
                inputs["text"],
                inputs["target"],
                **options,
                deterministic=deterministic,
                rngs={"dropout": key},
            )
            .logits
        )

    draws = str(jax.make_jaxpr(logits)(params, jax.random.key(0)))
    plainly = functools.partial(logits, deterministic=True)
    none = str(jax.make_jaxpr(plainly)(params, jax.random.key(0)))
    assert draws.count("random_bits") > 1 and "random_bits" not in none
    draw, plain = jax.jit(logits), run()[0].logits
    first, second = (draw(params, jax.random.key(i)) for i in range(2))
    assert np.abs(first - plain).max() > 1e-2 and np.abs(first - second).max() > 1e-2


def test_gradients_reach_every_parameter(tiny):
    params, inputs, _ = tiny
    options = {name: x for name, x in inputs.items() if name not in ("text", "target")}

    def loss(params):
        def call(model):
            out = model(inputs["text"], inputs["target"], **options)
            return token_loss(out.logits, inputs["target"]).loss + model.align(out.hidden).mean()

        return nn.apply(call, EditAR(TINY, remat="all", unroll=2))({"params": params})

    for path, gradient in tree.flatten(jax.jit(jax.grad(loss))(params)).items():
        assert float(jnp.abs(gradient).max()) > 0, path


def test_class_prefix():
    config = dataclasses.replace(TINY, prefix="class", classes=4, distill_width=0, layers=1)
    params, _ = random_params(config)
    assert params["class_embed"].shape == (5, 16) and init_null(config, jax.random.key(0)) == {}

    def first(classes, drop):
        target = jnp.zeros((3, N), jnp.int32)
        out, _ = forward(config)(
            params, jnp.array(classes), target, null=Null(), drop_text=jnp.array(drop)
        )
        assert out.logits.shape == (3, N, 12)
        return np.asarray(out.logits[:, 0])

    logits = first([0, 1, 1], [False, False, True])
    np.testing.assert_array_equal(logits[2], first([2, 3, 4], [True, False, False])[0])
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_left_pad_moves_the_words_to_the_end():
    features = jnp.arange(1.0, 9.0).reshape(2, 4, 1)
    padded, mask = left_pad(features, jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool))
    np.testing.assert_array_equal(padded[..., 0], [[0, 0, 1, 2], [5, 6, 7, 8]])
    np.testing.assert_array_equal(mask, [[False, False, True, True], [True] * 4])


def test_new_constants_have_unit_rows_on_average():
    null = init_null(EditARConfig(), jax.random.key(0))
    assert {name: x.shape for name, x in null.items()} == {
        "text": (120, 2048),
        "image": (1024, 1280),
    }
    for x in null.values():
        assert float(jnp.mean(jnp.sum(x * x, -1))) == pytest.approx(1, abs=0.02)


def test_every_parameter_has_a_sharding_rule():
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"))
    state = {"transformer": abstract(EditARConfig()), "null": init_null(TINY, jax.random.key(0))}
    state_shardings(state, mesh)
    assert axes_of("transformer/embed") == ("rows", None)
    assert axes_of("transformer/text/fc1/kernel") == ("embed", "mlp")
