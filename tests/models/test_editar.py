import dataclasses
import functools
import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import EditARConfig, llamagen
from jaxedit.convert.keymap_editar import params_from_torch
from jaxedit.models.editar import EditAR, Null, Output, init_null, init_params, left_pad
from jaxedit.ops import rope
from jaxedit.parallel.sharding import state_shardings
from jaxedit.train.losses import distillation_loss, token_loss


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
    out, _ = forward(config)(params, features, arrays["in/tokens"], null=null)
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


def test_editing_table_matches_release(edit_case):
    arrays, config, *_ = edit_case
    close(rope.sequence_table(config), arrays["out/freqs_cis"].transpose(2, 0, 1))
