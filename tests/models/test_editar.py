import dataclasses
import functools
import json
import pathlib
import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import EditARConfig, llamagen
from jaxedit.convert.keymap_editar import params_from_torch
from jaxedit.models.editar import EditAR, Null, init_null, init_params, left_pad
from jaxedit.nn.attention import attend_causal
from jaxedit.ops import rope
from jaxedit.parallel.sharding import axes_of, state_shardings
from jaxedit.train.losses import distillation_loss, token_loss

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def close(got, expected, *, atol=2e-5):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=atol)


def golden_config(description: dict, **settings) -> EditARConfig:
    """Our settings of a golden model."""
    c = description["config"]
    config = EditARConfig(
        layers=c["n_layer"],
        width=c["dim"],
        heads=c["n_head"],
        kv_heads=c.get("n_kv_head") or 0,
        mlp_hidden=c["ffn_hidden"],
        codes=c["vocab_size"],
        grid=int(c["block_size"] ** 0.5),
        text_tokens=c["cls_token_num"],
        text_width=c["caption_dim"],
        distill_width=c.get("teacher_dim", 0),
        dropout=0.0,
        token_dropout=0.0,
        **settings,
    )
    config.validate()
    return config


def golden_params(arrays: dict) -> tuple[tree.Tree, Null]:
    """Parameters and constants of a golden model."""
    state = {key[7:]: array for key, array in arrays.items() if key.startswith("params/")}
    params = params_from_torch({key: x.astype(np.float32) for key, x in state.items()})
    return params["transformer"], Null(**params["null"])


@pytest.fixture(scope="module", params=["llamagen_gpt_tiny", "llamagen_gpt_gqa"])
def text_case(request, golden):
    """Arrays, settings, parameters and constants of both golden LlamaGen models."""
    arrays, description = golden(request.param)
    return arrays, golden_config(description, prefix="text"), *golden_params(arrays)


@pytest.fixture(scope="module")
def edit_case(golden):
    """Arrays, settings, parameters and constants of the golden EditAR model."""
    arrays, description = golden("editar_gpt_tiny")
    return arrays, golden_config(description), *golden_params(arrays)


@functools.cache
def forward(config: EditARConfig):
    """The jitted forward pass of one config, with the features that the teacher should see."""

    def run(params, *arguments, **options):
        def call(model):
            out = model(*arguments, **options)
            return out, model.align(out.hidden) if config.distill_width else None

        return nn.apply(call, EditAR(config))({"params": params})

    return jax.jit(run)


def test_text_to_image_matches_release(text_case):
    arrays, config, params, null = text_case
    features, mask = left_pad(
        arrays["in/text_features_right_padded"], arrays["in/text_mask_right_padded"] > 0
    )
    close(features, arrays["out/text_features_left_padded"])
    np.testing.assert_array_equal(mask, arrays["out/text_mask_left_padded"])
    table = arrays["out/freqs_cis"].transpose(2, 0, 1)
    close(rope.sequence_table(config), table)

    out, _ = forward(config)(params, features, arrays["in/tokens"], null=null, text_mask=mask)
    close(out.logits, arrays["out/train_logits"])
    for valid in ("11", "10", "00"):
        rows = jnp.array([int(v) > 0 for v in valid])
        loss = token_loss(out.logits, arrays["in/tokens"], rows).loss
        close(loss, arrays[f"out/loss_valid_{valid}"][0])
    everywhere = jnp.ones_like(mask)
    out, _ = forward(config)(params, features, arrays["in/tokens"], null=null, text_mask=everywhere)
    close(out.logits, arrays["out/train_logits_causal_only"])
    loss = token_loss(out.logits, arrays["in/tokens"]).loss
    close(loss, arrays["out/loss_causal_only"][0])


@pytest.mark.parametrize("drop, name", [(False, ""), (True, "_row0_dropped")])
def test_text_embeddings_match_release(text_case, drop, name):
    arrays, config, params, null = text_case
    features = arrays["out/text_features_left_padded"]
    got = nn.apply(EditAR.embed_condition, EditAR(config))(
        {"params": params}, features, jnp.array([drop, False]), null.text
    )
    close(got, arrays[f"out/cond_embeddings{name}"])


@pytest.mark.parametrize("dropped", [False, True])
def test_editing_matches_release(edit_case, dropped):
    arrays, config, params, null = edit_case
    u = arrays["in/drop_uniform"] if dropped else np.full(4, 0.5, np.float32)
    out, features = forward(config)(
        params,
        arrays["in/text_features"],
        arrays["in/target_tokens"],
        null=null,
        source=arrays["in/source_tokens"],
        drop_text=(u < 0.05) | (u > 0.95),
        drop_image=u < 0.1,
    )
    name = "_dropped" if dropped else ""
    loss = token_loss(out.logits, arrays["in/target_tokens"]).loss
    close(out.logits, arrays[f"out/train_logits{name}"])
    close(features, arrays[f"out/student_features{name}"])
    close(loss, arrays[f"out/train_loss{name}"][0])
    if not dropped:
        distance = distillation_loss(features, arrays["in/teacher_features"])
        close(distance, arrays["out/distill_loss"][0])
        close(loss + 0.5 * distance, arrays["out/total_loss"][0])


def test_masks_match_release(text_case):
    """What a token sees, by whose values reach it: the released mask, without its last row."""
    arrays, config, *_ = text_case
    expected = arrays["out/train_attention_mask"][:, :-1, :-1] > 0
    S, T = expected.shape[1], config.text_tokens
    visible = np.ones((2, S), bool)
    visible[:, :T] = arrays["out/text_mask_left_padded"]
    zeros, values = jnp.zeros((2, 1, S, S)), jnp.eye(S)[None, None] * jnp.ones((2, 1, 1, 1))
    seen = attend_causal(zeros, zeros, values, jnp.asarray(visible))[:, 0] > 0
    np.testing.assert_array_equal(seen, expected)


def test_editing_table_matches_release(edit_case):
    arrays, config, *_ = edit_case
    close(rope.sequence_table(config), arrays["out/freqs_cis"].transpose(2, 0, 1))


# Trainable parameters of the published sizes, with classes and with text.
SIZES = {
    "b": (110_888_448, 112_282_368),
    "l": (342_910_976, 345_031_680),
    "xl": (774_699_520, 777_678_080),
    "xxl": (1_410_972_672, 1_414_940_160),
    "xxxl": (3_893_027_840, 3_902_261_760),
    "1b": (1_199_616_000, 1_205_954_560),
    "3b": (3_096_659_200, 3_110_249_600),
    "7b": (6_614_589_440, 6_635_655_168),
}


def abstract(config: EditARConfig) -> tree.Tree:
    """Shapes of the parameters; on a small picture, which has the same ones."""
    return jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes(size):
    kinds = [llamagen(size, prefix=prefix, grid=2) for prefix in ("class", "text")]
    assert tuple(tree.count(abstract(config)) for config in kinds) == SIZES[size]


def test_published_size_of_editar():
    assert tree.count(abstract(EditARConfig())) == 781_611_008


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
                *({"params": params}, inputs["text"], inputs["target"]),
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

        return nn.apply(call, EditAR(TINY, remat=True))({"params": params})

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
    assert axes_of("transformer/embed") == ("vocab", "embed")
    assert axes_of("transformer/text/fc1/kernel") == ("embed", "mlp")


@pytest.mark.slow
def test_full_geometry_matches_release(golden):
    arrays, description = golden("editar_gpt_xlgeom_seeded")
    c = description["config"] | {"rope_base": 10000}
    config = golden_config({"config": c})
    shapes = json.loads((GOLDEN / "editar_state_dict.json").read_text())
    kept = {key: shape for key, shape in shapes.items() if layer_of(key) < c["n_layer"]}
    params = params_from_torch({key: seeded(key, shape) for key, shape in kept.items()})
    text = np.random.RandomState(5).standard_normal((1, 120, 2048)).astype(np.float32)
    out, features = forward(config)(
        *(params["transformer"], text, arrays["in/target_tokens"]),
        null=Null(**params["null"]),
        source=arrays["in/source_tokens"],
    )
    logits = np.asarray(out.logits[0])
    table = rope.sequence_table(config).transpose(1, 2, 0)
    close(table[[0, 33, 1023, 1024, 1143, 1144, 1177, 2167]], arrays["out/freqs_cis_rows"])
    close(
        logits[arrays["out/positions"]][:, arrays["out/vocab_ids"]],
        arrays["out/logits_sub"],
        atol=2e-3,
    )
    close(jax.nn.logsumexp(out.logits[0], axis=-1), arrays["out/logsumexp"], atol=2e-3)
    assert (logits.argmax(-1) == arrays["out/logits_argmax"]).mean() > 0.995
    close(token_loss(out.logits, arrays["in/target_tokens"]).loss, arrays["out/loss"][0], atol=1e-4)
    print(features.shape)


def layer_of(key: str) -> int:
    """The layer of a key of the release; -1 for what belongs to none."""
    parts = key.split(".")
    return int(parts[1]) if parts[0] == "layers" else -1


def seeded(key: str, shape: list[int]) -> np.ndarray:
    """The weights of the golden model, which are drawn by name."""
    draw = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(shape)
    draw = draw.astype(np.float32)
    if len(shape) > 1:
        return draw / np.float32(np.sqrt(np.prod(shape[1:])))
    return 1 + np.float32(0.2) * draw if key.endswith("weight") else np.float32(0.1) * draw
