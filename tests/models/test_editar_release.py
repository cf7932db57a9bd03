"""LlamaGen and EditAR against golden outputs and sizes of the released code."""

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
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_editar import KEYMAP
from jaxedit.models.editar import EditAR, Null, init_params, left_pad
from jaxedit.nn.attention import causal_attention
from jaxedit.ops import rope
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
    params = from_torch(KEYMAP, {key: x.astype(np.float32) for key, x in state.items()})
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
    seen = causal_attention(zeros, zeros, values, jnp.asarray(visible))[:, 0] > 0
    np.testing.assert_array_equal(seen, expected)


def test_editing_table_matches_release(edit_case):
    arrays, config, *_ = edit_case
    close(rope.sequence_table(config), arrays["out/freqs_cis"].transpose(2, 0, 1))


# Trainable parameters of the published sizes, with classes and with text.
SIZES = json.loads((pathlib.Path(__file__).parents[1] / "golden/llamagen_counts.json").read_text())


def abstract(config: EditARConfig) -> tree.Tree:
    """Shapes of the parameters; on a small picture, which has the same ones."""
    return jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes(size):
    kinds = [llamagen(size, prefix=prefix, grid=2) for prefix in ("class", "text")]
    assert tuple(tree.count(abstract(config)) for config in kinds) == tuple(SIZES[size])


def test_published_size_of_editar():
    assert tree.count(abstract(EditARConfig())) == 781_611_008


def test_full_geometry_matches_release(golden):
    arrays, description = golden("editar_gpt_xlgeom_seeded")
    c = description["config"] | {"rope_base": 10000}
    config = golden_config({"config": c})
    shapes = json.loads((GOLDEN / "editar_state_dict.json").read_text())
    kept = {key: shape for key, shape in shapes.items() if layer_of(key) < c["n_layer"]}
    params = from_torch(KEYMAP, {key: seeded(key, shape) for key, shape in kept.items()})
    text = np.random.RandomState(5).standard_normal((1, 120, 2048)).astype(np.float32)
    out, features = forward(config)(
        params["transformer"],
        text,
        arrays["in/target_tokens"],
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
    close(features[0, ::16], arrays["out/student_features_sub"], atol=2e-3)


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
