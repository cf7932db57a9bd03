import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import ConfigError, ERecConfig, ScaleERecConfig
from jaxedit.erec import edit_mask, restore
from jaxedit.erec.edit_mask import Maps, Thresholds
from jaxedit.ops import image

READINGS = ("cfg", "cond", "truncated")


def masks(maps, **changes):
    thresholds, config = edit_mask.split(ERecConfig(**changes))
    return np.array(
        edit_mask.edit_mask(Maps(*(jnp.asarray(m)[None] for m in maps)), thresholds, config)
    )[0]


@pytest.fixture
def maps():
    """One seed of an edit in the middle of 5 x 5 tokens."""
    js = np.zeros((5, 5), np.float32)
    js[2, 2] = 0.8
    return Maps(js, np.full((5, 5), 5, np.float32), np.full((5, 5), 5, np.float32))


@pytest.mark.parametrize("reading", READINGS)
def test_masks_are_the_golden_ones(golden, reading):
    arrays, _ = golden("erec_numerics_tiny")
    maps = Maps(*(arrays[f"out/{reading}/{name}"] for name in Maps._fields))
    for k in (1, 3, 5):
        expected = arrays[f"out/{reading}/mask0_k{k}"]
        off = {"use_nll_low": False, "use_nll_high": False}
        np.testing.assert_array_equal(masks(maps, dilation=k, **off), expected)
        expected = arrays[f"out/{reading}/mask_k{k}"]
        np.testing.assert_array_equal(masks(maps, dilation=k), expected)
    expected = arrays[f"out/{reading}/mask_js_dil_nlllow_only_k3"]
    np.testing.assert_array_equal(masks(maps, use_nll_high=False), expected)


def test_picture_is_the_golden_one(golden):
    arrays, _ = golden("erec_numerics_tiny")
    mask, edit, source = (
        arrays[name].reshape(1, 12, 12)
        for name in ("out/cfg/mask_k3", "out/tokens_edit", "in/source_tokens")
    )
    mask = jnp.asarray(mask, bool)
    locked = restore.lock(edit, source, mask)
    np.testing.assert_array_equal(locked.reshape(-1), arrays["out/tokens_locked"])
    large = restore.upsample_mask(mask, 48, "nearest")
    np.testing.assert_array_equal(large[0], arrays["out/mask_upsampled"])
    pictures = [
        jnp.asarray(arrays[f"in/{name}"].transpose(1, 2, 0)[None])
        for name in ("image", "decoded_edit", "decoded_source")
    ]
    result = restore.composite(*pictures, large, ERecConfig())
    expected = arrays["out/composite"].transpose(1, 2, 0)
    np.testing.assert_allclose(result[0], expected, atol=1e-6)


def test_mask_by_hand(maps):
    np.testing.assert_array_equal(np.argwhere(masks(maps, dilation=1)), [[2, 2]])
    assert masks(maps).sum() == 9 and masks(maps)[1:4, 1:4].all()
    assert masks(maps, dilation=5).sum() == 25
    maps.nll_edit[1, 1] = 3.0  # confident that the source's token stays
    maps.nll_rec[3, 3] = 10.0  # the reconstruction went astray
    full = masks(maps)
    assert full.sum() == 7 and not full[1, 1] and not full[3, 3]
    assert masks(maps, use_nll_high=False).sum() == 8
    assert masks(maps, use_nll_low=False, use_nll_high=False).sum() == 9


def test_replaced_tokens_are_the_mask_of_direct_replacement(maps):
    maps.js[0, 0] = 0.3
    found = masks(maps, direct_replacement=True)
    np.testing.assert_array_equal(np.argwhere(found), [[0, 0], [2, 2]])


def test_mask_is_monotone_in_every_threshold():
    generator = np.random.default_rng(0)
    js = generator.random((12, 12), np.float32) ** 4
    nll = generator.exponential(5, (2, 12, 12)).astype(np.float32)
    maps = Maps(js, *nll)
    for name, values, grows in (
        ("tau_js", (0.6, 0.8, 0.95), False),
        ("tau_low", (0, 3, 6), False),
        ("tau_high", (5, 10, 15), True),
        ("dilation", (1, 3, 5), True),
    ):
        found = [masks(maps, **{name: value}) for value in values]
        for small, large in zip(found[:-1], found[1:], strict=True):
            small, large = (small, large) if grows else (large, small)
            assert (small <= large).all() and small.sum() < large.sum(), name


@pytest.mark.parametrize("config", [ERecConfig, ScaleERecConfig])
def test_thresholds_and_sides_do_not_compile_again(config):
    one, other = (
        edit_mask.split(config(tau_js=tau, dilation=side, recon_prompt="as it is"))
        for tau, side in ((0.2, 3), (0.9, 5))
    )
    assert hash(one[1]) == hash(other[1]) and one[1] == other[1]
    assert one[0].tau_js != other[0].tau_js and one[0].dilation != other[0].dilation
    assert edit_mask.split(config(refine=False))[1] != one[1]


def test_thresholds_by_hand():
    thresholds, _ = edit_mask.split(ERecConfig(tau_js=0.2))
    assert thresholds == Thresholds(*(np.float32(x) for x in (0.2, 3, 10, 0.3)), 3, 1)
    assert edit_mask.split(ScaleERecConfig(growth=5))[0].growth == 5


@pytest.mark.parametrize("side", [1, 3, 7, 255])
def test_dilation_is_the_largest_value_nearby(side):
    x = np.random.default_rng(side).normal(size=(1, 6, 6)).astype(np.float32)
    near = np.abs(np.arange(6)[:, None] - np.arange(6)) <= side // 2  # rows, and columns
    expected = [[x[0][np.ix_(row, column)].max() for column in near] for row in near]
    np.testing.assert_array_equal(edit_mask.dilate(x, side), [expected])


@pytest.fixture
def pictures():
    """Source, decoded edit and decoded source of 8 x 8 pixels, and the left half as the mask."""
    generator = np.random.default_rng(1)
    source = image.to_float(jnp.asarray(generator.integers(0, 256, (1, 8, 8, 3), np.uint8)))
    edit, back = (
        jnp.asarray(generator.uniform(-1.2, 1.2, (1, 8, 8, 3)), jnp.float32) for _ in "ab"
    )
    return source, edit, back, jnp.zeros((1, 8, 8)).at[:, :, :4].set(1)


def test_residual_by_hand(pictures):
    source, edit, back, mask = pictures
    result = restore.composite(*pictures, ERecConfig())
    np.testing.assert_array_equal(result[:, :, :4], jnp.clip(edit, -1, 1)[:, :, :4])
    expected = jnp.clip(edit + source - back, -1, 1)[:, :, 4:]
    np.testing.assert_allclose(result[:, :, 4:], expected, atol=1e-6)
    off = restore.composite(*pictures, ERecConfig(pixel_align=False))
    np.testing.assert_array_equal(off, jnp.clip(edit, -1, 1))
    clipped = restore.composite(*pictures, ERecConfig(clip_decoded=True))
    expected = jnp.clip(edit, -1, 1) + source - jnp.clip(back, -1, 1)
    np.testing.assert_allclose(clipped[:, :, 4:], jnp.clip(expected, -1, 1)[:, :, 4:], atol=1e-6)


def test_background_is_exact(pictures):
    source, edit, back, mask = pictures
    pasted = restore.composite(*pictures, ERecConfig(hard_paste=True))
    np.testing.assert_array_equal(pasted[:, :, 4:], source[:, :, 4:])
    # Where the decoder draws the same background, alignment alone returns every byte.
    aligned = restore.composite(source, edit, edit, mask, ERecConfig())
    bytes_ = image.to_nearest_uint8(aligned)[:, :, 4:]
    np.testing.assert_array_equal(bytes_, image.to_nearest_uint8(source)[:, :, 4:])


def test_bilinear_masks_have_soft_borders():
    mask = jnp.array([[[True, False], [True, False]]])
    rows = restore.upsample_mask(mask, 4, "bilinear")[0]
    np.testing.assert_allclose(rows, np.tile(np.array([1, 0.75, 0.25, 0], np.float32), (4, 1)))


def test_bad_settings_are_named():
    for name, value in (("dilation", 2), ("tau_js", float("nan")), ("upsampling", "cubic")):
        with pytest.raises(ConfigError, match=f"erec.{name}={value!r}"):
            dataclasses.replace(ERecConfig(), **{name: value}).validate()
