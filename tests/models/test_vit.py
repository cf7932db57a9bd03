import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.config import ConfigError, ViTConfig
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_vit import KEYMAP
from jaxedit.models.vit import ViT, init_params, positions, seeded_teacher

TINY = ViTConfig(layers=2, width=16, heads=2, mlp_hidden=24, patch=4, grid=3)


@pytest.fixture(scope="module")
def params():
    made = jax.jit(lambda: init_params(TINY, rng.key_for(0, "init")))()
    return jax.tree.map(np.array, made)


def reference(golden, name):
    arrays, description = golden(name)
    c = description["config"]
    config = ViTConfig(
        layers=c["num_hidden_layers"],
        width=c["hidden_size"],
        heads=c["num_attention_heads"],
        mlp_hidden=c["hidden_size"] * c["mlp_ratio"],
        patch=c["patch_size"],
        grid=c["image_size"] // c["patch_size"],
    )
    state = {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}
    return arrays, config, from_torch(KEYMAP, state), description["tolerance"]


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        ("dinov2_tiny", 70, 70),
        ("dinov2_tiny", 42, 42),
        ("dinov2_tiny", 98, 56),
        ("dinov2_tiny", 112, 112),
        ("dinov2_downsample", 60, 60),
    ],
)
def test_release_outputs_at_any_size(golden, name, height, width):
    arrays, config, params, tolerance = reference(golden, name)
    grid = (height // config.patch, width // config.patch)
    table = positions(params["positions"], grid, config)
    size = f"{height}x{width}"
    np.testing.assert_allclose(
        table, arrays[f"out/pos_embed_{size}"][0], atol=tolerance["pos_embed"]
    )
    pixels = arrays[f"in/pixels_{size}"].transpose(0, 2, 3, 1)
    out = jax.jit(ViT(config).apply)({"params": params}, pixels)
    np.testing.assert_allclose(
        out, arrays[f"out/last_hidden_state_{size}"], atol=tolerance["hidden"]
    )


def test_patches_carry_their_places(params):
    pixels = jax.random.normal(jax.random.key(1), (1, 12, 12, 3))
    both = jnp.concatenate([pixels, jnp.roll(pixels, 4, axis=2)])
    apply = jax.jit(ViT(TINY).apply)

    def difference(params):
        a, b = apply({"params": params}, both)[:, 1:].reshape(2, 3, 3, -1)
        return np.abs(np.roll(a, 1, axis=1) - b).max()

    assert difference(params) > 1e-3
    assert difference({**params, "positions": np.zeros_like(params["positions"])}) < 1e-5


def test_the_table_moves_with_dinos_offset():
    table = jax.random.normal(jax.random.key(0), (10, 16))
    dino = dataclasses.replace(TINY, position_offset=0.1)
    np.testing.assert_array_equal(positions(table, (3, 3), dino), table)
    plain, moved = (positions(table, (4, 5), c) for c in (TINY, dino))
    assert plain.shape == moved.shape == (21, 16)
    np.testing.assert_array_equal(plain[0], moved[0])
    assert np.abs(plain - moved).max() > 0.01


def test_keys_are_those_of_the_last_layer(params):
    pixels = jnp.zeros((1, 12, 12, 3))
    apply = jax.jit(functools.partial(ViT(TINY).apply, with_keys=True))
    out, keys = apply({"params": params}, pixels)
    assert out.shape == keys.shape == (1, 10, 16)
    params = copy.deepcopy(params)
    params["blocks"]["attn"]["k"]["kernel"][1] *= 2
    np.testing.assert_allclose(apply({"params": params}, pixels)[1], 2 * keys, rtol=1e-5)


def test_bfloat16_stays_close_to_float32(params):
    pixels = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    exact, rounded = (
        jax.jit(ViT(TINY, dtype).apply)({"params": params}, pixels)
        for dtype in ("float32", "bfloat16")
    )
    assert rounded.dtype == jnp.float32
    np.testing.assert_allclose(rounded, exact, atol=0.1)


def test_dinov2_base_has_its_published_size():
    shapes = jax.eval_shape(lambda: init_params(ViTConfig(), rng.key_for(0, "init")))
    assert tree.count(shapes) == 86_580_480 - 768  # without the mask token


def test_seeded_teacher_is_always_the_same():
    config, params = seeded_teacher(8, 4)
    assert (config.width, config.grid, config.layer_scale) == (8, 4, False)
    kernel = params["patch"]["kernel"]
    assert kernel.shape == (7, 7, 3, 8) and isinstance(kernel, np.ndarray)
    np.testing.assert_allclose(kernel[0, 0, 0, :2], [-0.0276495, -0.00680345], rtol=1e-5)


def test_sizes_that_cannot_work():
    with pytest.raises(ConfigError, match="vit.width=16: expected a multiple of vit.heads=3"):
        dataclasses.replace(TINY, heads=3).validate()
    with pytest.raises(ConfigError, match="vit.patch=0: expected a positive whole number"):
        dataclasses.replace(TINY, patch=0).validate()
