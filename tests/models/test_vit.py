import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.config import ConfigError, ViTConfig
from jaxedit.convert.keymap_vit import params_from_torch
from jaxedit.models.vit import ViT, init_params, positions, seeded_teacher

TINY = ViTConfig(layers=2, width=16, heads=2, mlp_hidden=24, patch=4, grid=3)


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
    return arrays, config, params_from_torch(state), description["tolerance"]


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


def test_patches_carry_their_places():
    params = init_params(TINY, rng.key_for(0, "init"))
    pixels = jax.random.normal(jax.random.key(1), (1, 12, 12, 3))
    moved = jnp.roll(pixels, 4, axis=2)
    a, b = (
        ViT(TINY).apply({"params": params}, x)[:, 1:].reshape(1, 3, 3, -1) for x in (pixels, moved)
    )
    assert np.abs(jnp.roll(a, 1, axis=2) - b).max() > 1e-3
    params = {**params, "positions": jnp.zeros_like(params["positions"])}
    a, b = (
        ViT(TINY).apply({"params": params}, x)[:, 1:].reshape(1, 3, 3, -1) for x in (pixels, moved)
    )
    np.testing.assert_allclose(jnp.roll(a, 1, axis=2), b, atol=1e-5)


def test_the_table_moves_with_dinos_offset():
    table = jax.random.normal(jax.random.key(0), (10, 16))
    dino = dataclasses.replace(TINY, position_offset=0.1)
    np.testing.assert_array_equal(positions(table, (3, 3), dino), table)
    plain, moved = (positions(table, (4, 5), c) for c in (TINY, dino))
    assert plain.shape == moved.shape == (21, 16)
    np.testing.assert_array_equal(plain[0], moved[0])
    assert np.abs(plain - moved).max() > 0.01


def test_keys_are_those_of_the_last_layer():
    params = init_params(TINY, rng.key_for(0, "init"))
    pixels = jnp.zeros((1, 12, 12, 3))
    out, keys = ViT(TINY).apply({"params": params}, pixels, with_keys=True)
    assert out.shape == keys.shape == (1, 10, 16)
    key = params["blocks"]["attn"]["k"]
    key["kernel"] = key["kernel"].at[1].multiply(2.0)
    doubled = ViT(TINY).apply({"params": params}, pixels, with_keys=True)[1]
    np.testing.assert_allclose(doubled, 2 * keys, rtol=1e-5)


def test_bfloat16_stays_close_to_float32():
    config, params = seeded_teacher(64, 4)
    pixels = jax.random.normal(jax.random.key(0), (2, 28, 28, 3))
    exact, rounded = (
        ViT(config, d).apply({"params": params}, pixels) for d in ("float32", "bfloat16")
    )
    assert rounded.dtype == jnp.float32 and exact.shape == (2, 17, 64)
    np.testing.assert_allclose(rounded, exact, atol=0.1)


def test_dinov2_base_has_its_published_size():
    shapes = jax.eval_shape(lambda: init_params(ViTConfig(), rng.key_for(0, "init")))
    assert tree.count(shapes) == 86_580_480 - 768  # without the mask token


def test_seeded_teacher_is_always_the_same():
    (a_config, a), (b_config, b) = seeded_teacher(32, 4), seeded_teacher(32, 4)
    assert a_config == b_config and not a_config.layer_scale
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_sizes_that_cannot_work():
    with pytest.raises(ConfigError, match="vit.width=16: expected a multiple of vit.heads=3"):
        dataclasses.replace(TINY, heads=3).validate()
    with pytest.raises(ConfigError, match="vit.patch=0: expected a positive number"):
        dataclasses.replace(TINY, patch=0).validate()
