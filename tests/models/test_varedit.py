import dataclasses

import jax
import numpy as np
import pytest

from jaxedit.config import VAREditConfig
from jaxedit.convert.keymap_varedit import params_from_torch
from jaxedit.models.varedit import VAREdit

NAMES = ("varedit_transformer_a256", "varedit_transformer_b_patchify")


def scales_of(entries) -> tuple[tuple[int, int], ...]:
    return tuple((h, w) for _, h, w in entries)


def config_of(c: dict) -> VAREditConfig:
    config = VAREditConfig(
        depth=c["depth"],
        width=c["embed_dim"],
        heads=c["num_heads"],
        mlp_hidden=c["mlp_hidden"],
        bits=c["vae_codebook_dim"],
        patchify=bool(c["apply_spatial_patchify"]),
        text_width=c["text_channels"],
        text_pool_heads=c["text_pool_heads"],
        max_text_tokens=c["text_maxlen"],
        scales=scales_of(c["scale_schedule"]),
        rope_scales=scales_of(c["rope_table_schedule_1M"]),
    )
    config.validate()
    return config


def padded_text(arrays) -> tuple[np.ndarray, np.ndarray]:
    """The packed text features as [B,T,Ct] and their mask; padding holds garbage on purpose."""
    lengths = arrays["in.text_lens"]
    text = np.full((len(lengths), max(lengths) + 2, arrays["in.text_feat"].shape[-1]), 3.0, "f4")
    mask = np.arange(text.shape[1])[None] < lengths[:, None]
    text[mask] = arrays["in.text_feat"]
    return text, mask


@pytest.fixture(scope="module", params=NAMES)
def case(request, golden):
    arrays, description = golden(request.param)
    config = config_of(description["config"])
    state = {k[3:]: v for k, v in arrays.items() if k.startswith("sd.")}
    return arrays, config, params_from_torch(state)


def logits_of(case, inputs: str, drop=(False, False), **changes) -> np.ndarray:
    arrays, config, params = case
    model = VAREdit(dataclasses.replace(config, **changes))
    out = jax.jit(
        lambda p, *xs: model.apply(
            {"params": p}, *xs, scales=config.scales, rope_scales=config.rope_scales
        )
    )(
        params,
        *padded_text(arrays),
        np.array(drop),
        arrays["bsc.src_tokens"],
        arrays[f"bsc.{inputs}.tgt_tokens"],
    )
    return np.asarray(out).reshape(*out.shape[:2], -1)


@pytest.mark.parametrize(
    "name, inputs, drop, changes",
    [
        ("logits", "noisy", (False, False), {}),
        ("logits_clean", "clean", (False, False), {}),
        ("logits_textdrop0", "noisy", (True, False), {}),
        ("logits_finest", "noisy", (False, False), {"conditioning": "finest"}),
    ],
)
def test_logits_match_release(case, name, inputs, drop, changes):
    got = logits_of(case, inputs, drop, **changes)
    np.testing.assert_allclose(got, case[0][f"train.{name}"], rtol=1e-4, atol=1e-4)
