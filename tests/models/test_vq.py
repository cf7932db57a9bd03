import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import ConfigError, VQConfig
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_vq import KEYMAP
from jaxedit.models.vq import VQTokenizer

SMALL = VQConfig(
    codes=16, code_width=4, base_channels=24, channel_mult=(1, 1), res_blocks=1, latent_width=8
)


def nhwc(array):
    return array.transpose(0, 2, 3, 1)


def apply(config, method, **options):
    model = VQTokenizer(config, **options)
    return jax.jit(lambda params, x: model.apply({"params": params}, x, method=method))


def small_params():
    return jax.jit(VQTokenizer(SMALL).init)(rng.key_for(0, "init"), jnp.zeros((1, 8, 8, 3)))[
        "params"
    ]


def config_of(c):
    return VQConfig(
        codes=c["codebook_size"],
        code_width=c["codebook_embed_dim"],
        base_channels=c["ch"],
        channel_mult=tuple(c["ch_mult"]),
        res_blocks=c["num_res_blocks"],
        latent_width=c["z_channels"],
        unit_norm=c["codebook_l2_norm"],
    )


def assert_codes_equal(codes, arrays):
    """Exact, but where two entries are equally near."""
    decided = arrays["out/index_margin"] > 1e-4
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(
        np.asarray(codes).reshape(-1)[decided], arrays["out/indices"][decided]
    )


@pytest.mark.parametrize("fixture", ["vq_tokenizer_tiny", "vq_tokenizer_nonsquare_nol2"])
def test_matches_the_release(golden, fixture):
    arrays, description = golden(fixture)
    config, tolerance = config_of(description["config"]), description["tolerance"]
    state = {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}
    params, x = from_torch(KEYMAP, state), nhwc(arrays["in/image"])
    latent = apply(config, "encode")(params, x)
    np.testing.assert_allclose(
        latent, nhwc(arrays["out/latent_pre_quant"]), atol=tolerance["latent"]
    )
    assert_codes_equal(apply(config, "codes")(params, x), arrays)
    B, h, w, _ = latent.shape
    decoded = apply(config, "decode")(params, arrays["out/indices"].reshape(B, h, w))
    np.testing.assert_allclose(decoded, nhwc(arrays["out/decoded"]), atol=tolerance["decoded"])


@pytest.mark.slow
def test_full_size_matches_the_release(golden):
    arrays, description = golden("vq_tokenizer_vq16_fullsize_seeded")
    _, keys = golden("vq16_state_dict")
    keys = {k: shape for k, shape in keys.items() if k != "quantize.codebook_used"}
    params = from_torch(KEYMAP, {k: seeded_weight(k, shape) for k, shape in keys.items()})
    config, tolerance = config_of(description["config"]), description["tolerance"]
    assert config == VQConfig()
    x = nhwc(arrays["in/image"])
    latent = apply(config, "encode")(params, x)
    np.testing.assert_allclose(
        latent, nhwc(arrays["out/latent_pre_quant"]), atol=tolerance["latent"]
    )
    assert_codes_equal(apply(config, "codes")(params, x), arrays)
    decoded = apply(config, "decode")(params, arrays["in/fixed_codes"].reshape(1, 4, 6))
    expected = nhwc(arrays["out/decoded_fixed_codes"])
    np.testing.assert_allclose(decoded, expected, atol=tolerance["decoded"])


def seeded_weight(key, shape):
    """The recipe with which the reference made its full-size weights."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    a = random.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return a / np.float32(np.sqrt(np.prod(shape[1:])))
    return 1 + np.float32(0.2) * a if key.endswith("weight") else np.float32(0.1) * a


def test_attention_is_at_the_coarsest_level_and_in_the_middle():
    params = jax.eval_shape(small_params)
    names = [n for half in ("encoder", "decoder") for n in params[half] if "attn" in n]
    assert sorted(names) == sorted(
        ["down_1_attn_0", "up_0_attn_0", "up_0_attn_1", *["mid_attn"] * 2]
    )


@pytest.mark.parametrize("size", [(8, 8), (4, 6)])
def test_shapes_of_any_aspect(size):
    h, w = size
    params, x = jax.eval_shape(small_params), jnp.zeros((2, 2 * h, 2 * w, 3))
    codes = jax.eval_shape(apply(SMALL, "codes"), params, x)
    assert codes.shape == (2, h, w) and codes.dtype == jnp.int32
    assert jax.eval_shape(apply(SMALL, "decode"), params, codes).shape == x.shape


def test_half_precision_is_for_the_decoder_only():
    params, x = small_params(), jax.random.uniform(rng.key_for(0, "test"), (1, 8, 8, 3))
    latent = apply(SMALL, "encode", dtype=jnp.bfloat16)(params, x)
    np.testing.assert_array_equal(latent, apply(SMALL, "encode")(params, x))  # never in half
    codes = apply(SMALL, "codes")(params, x)
    exact = apply(SMALL, "decode")(params, codes)
    half = apply(SMALL, "decode", dtype=jnp.bfloat16)(params, codes)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, exact, atol=0.03)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="image 8x7: expected multiples of 2 pixels"):
        apply(SMALL, "encode")(jax.eval_shape(small_params), jnp.zeros((1, 8, 7, 3)))
    with pytest.raises(ConfigError, match="vq.codes=0: expected a positive whole number"):
        VQConfig(codes=0).validate()
