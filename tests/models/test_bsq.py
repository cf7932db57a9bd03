import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.config import PRESETS, BSQConfig, ConfigError
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_bsq import KEYMAP
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.ops import quantize
from jaxedit.ops.image import to_float, to_uint8

SMALL = BSQConfig(bits=4, stride=2, base_channels=24, channel_mult=(1, 1), res_blocks=1)


def nhwc(array):
    return array.transpose(0, 2, 3, 1)


def apply(config, method, **options):
    model = BSQTokenizer(config, **options)
    return jax.jit(lambda params, x: model.apply({"params": params}, x, method=method))


def small_params(config=SMALL):
    init = jax.jit(BSQTokenizer(config).init)
    return init(rng.key_for(0, "init"), jnp.zeros((1, 8, 8, 3)))["params"]


@pytest.mark.parametrize("fixture", ["bsq_tokenizer_d32like", "bsq_tokenizer_patchify"])
def test_encoder_and_decoder_match_the_release(golden, fixture):
    arrays, description = golden(fixture)
    c = description["config"]
    config = BSQConfig(
        bits=c["d"],
        stride=c["patch_size"],
        base_channels=c["base_ch"],
        channel_mult=tuple(c["enc_mult"]),
        res_blocks=c["nrb"],
    )
    state = {k[3:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("sd.")}
    params = from_torch(KEYMAP, state)
    assert tree.count(params) == description["params"]
    raw = apply(config, "encode")(params, to_float(nhwc(arrays["img.image_u8"])))
    np.testing.assert_allclose(raw, nhwc(arrays["img.h"]), atol=5e-5)
    scales = tuple((h, w) for _, h, w in description["cases"]["img"]["vae_scale_schedule"])
    labels = quantize.encode_labels(raw, scales, patchify=False)
    bits = [arrays[f"img.bits.{k}"].reshape(len(raw), -1, c["d"]) for k in range(len(scales))]
    np.testing.assert_array_equal(labels.bits, np.concatenate(bits, axis=1).astype(bool))
    decoded = apply(config, "decode")(params, nhwc(arrays["img.z"]))
    np.testing.assert_allclose(decoded, nhwc(arrays["img.decoded"]), atol=5e-5)
    levels = np.array(to_uint8(decoded), int) - nhwc(arrays["img.decoded_u8"])
    assert np.abs(levels).max() <= 1 and (levels != 0).mean() <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("case, preset", [("d32_f16", "2b"), ("d14_f8", "8b")])
def test_full_size_matches_the_release(golden, case, preset):
    arrays, description = golden("bsq_tokenizer_fullsize_seeded")
    _, keys = golden("bsq_tokenizer_state_dict")
    name = next(name for name in keys if name.startswith(case))
    shapes = {k: s for k, s in keys[name]["keys"].items() if not k.endswith("mask")}
    params = from_torch(KEYMAP, {k: seeded_weight(k, shape) for k, shape in shapes.items()})
    config = PRESETS[preset].bsq
    raw = apply(config, "encode")(params, to_float(nhwc(arrays[f"{case}.image_u8"])))
    np.testing.assert_allclose(raw, nhwc(arrays[f"{case}.h"]), atol=5e-5)
    scales = tuple((h, w) for _, h, w in description["cases"][case]["vae_scale_schedule"])
    labels = quantize.encode_labels(raw, scales, patchify=False)
    bits = [arrays[f"{case}.bits.{k}"].reshape(1, -1, config.bits) for k in range(len(scales))]
    np.testing.assert_array_equal(labels.bits, np.concatenate(bits, axis=1).astype(bool))
    decoded = apply(config, "decode")(params, nhwc(arrays[f"{case}.z"]))
    np.testing.assert_allclose(decoded, nhwc(arrays[f"{case}.decoded"]), atol=5e-5)


def seeded_weight(key, shape):
    """The recipe with which the reference made its full-size weights."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    a = random.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return a / np.float32(np.sqrt(np.prod(shape[1:])))
    return 1 + np.float32(0.2) * a if key.endswith("weight") else np.float32(0.1) * a


@pytest.mark.parametrize("size", [(8, 8), (4, 6)])
def test_shapes_of_any_aspect(size):
    h, w = size
    params, x = jax.eval_shape(small_params), jnp.zeros((2, 2 * h, 2 * w, 3))
    raw = jax.eval_shape(apply(SMALL, "encode"), params, x)
    assert raw.shape == (2, h, w, 4) and raw.dtype == jnp.float32
    assert jax.eval_shape(apply(SMALL, "decode"), params, raw).shape == x.shape


@pytest.mark.slow
def test_half_precision_is_for_the_decoder_only():
    params, x = small_params(), jax.random.uniform(rng.key_for(0, "test"), (1, 8, 8, 3))
    raw = apply(SMALL, "encode", dtype=jnp.bfloat16)(params, x)
    np.testing.assert_array_equal(raw, apply(SMALL, "encode")(params, x))  # never in half
    exact = apply(SMALL, "decode")(params, raw)
    half = apply(SMALL, "decode", dtype=jnp.bfloat16)(params, raw)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, exact, atol=0.03)


def test_no_downsampling_at_stride_one():
    config = BSQConfig(bits=4, stride=1, base_channels=24, channel_mult=(1, 2), res_blocks=1)
    config.validate()
    paths = tree.flatten(jax.eval_shape(lambda: small_params(config)))
    assert not [path for path in paths if "sample" in path]


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="image 8x7: expected multiples of 2 pixels"):
        apply(SMALL, "encode")(jax.eval_shape(small_params), jnp.zeros((1, 8, 7, 3)))
    with pytest.raises(ConfigError, match="stride=4: expected a power of two below 2\\*\\*2"):
        BSQConfig(stride=4, channel_mult=(1, 2)).validate()
