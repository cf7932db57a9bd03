import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import MeshConfig
from jaxedit.nn import layers
from jaxedit.nn.layers import embedding_lookup
from jaxedit.sharding.mesh import make_mesh


def test_layer_norm_by_hand():
    x = jnp.array([[[1.0, 3.0]]])
    np.testing.assert_allclose(layers.layer_norm(x, 0.0), [[[-1, 1]]], rtol=1e-6)


def test_modulation_scales_then_shifts():
    x = jnp.array([[[1.0, 3.0]]])
    out = layers.modulate(x, jnp.array([[1.0, 2.0]]), jnp.array([[0.5, 0.0]]), 0.0)
    np.testing.assert_allclose(out, [[[-1.5, 3.0]]], rtol=1e-6)


def test_norms_are_computed_in_f32():
    x = jnp.full((1, 1, 4), 300.0, jnp.bfloat16).at[0, 0, 0].set(301)
    assert layers.layer_norm(x, 1e-6).dtype == jnp.float32
    assert layers.RMSNorm(1e-6).init_with_output(jax.random.key(0), x)[0].dtype == jnp.float32


def test_rms_norm_by_hand():
    out, _ = layers.RMSNorm(0.0).init_with_output(jax.random.key(0), jnp.array([[[3.0, 4.0]]]))
    np.testing.assert_allclose(out[0, 0], np.array([3, 4]) / np.sqrt(12.5), rtol=1e-6)


def test_drop_path_drops_whole_rows_and_keeps_the_mean():
    out = layers.drop_path(jnp.ones((4000, 2)), jnp.float32(0.25), jax.random.key(0))
    assert set(np.unique(out).round(4)) == {0.0, np.float32(4 / 3).round(4)}
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    assert float(out.mean()) == pytest.approx(1, abs=0.03)


def test_dense_equals_a_product():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    layer = layers.dense(5, 0.5, jnp.float32)
    params = layer.init(jax.random.key(1), x)
    expected = np.asarray(x) @ np.asarray(params["params"]["kernel"])
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=1e-6)
    assert layer.apply(params, x[:, :0]).shape == (2, 0, 5)


def test_mlp_computes_in_its_dtype():
    x = jnp.ones((1, 2, 4))
    out, variables = layers.MLP(8, 0.1, 0.1, jnp.bfloat16).init_with_output(jax.random.key(0), x)
    assert out.dtype == jnp.bfloat16
    assert variables["params"]["up"]["kernel"].dtype == jnp.float32


TABLE, IDS = np.arange(48.0, dtype=np.float32).reshape(16, 3), np.arange(32).reshape(8, 4) % 9


@pytest.mark.parametrize("rows", [8, 3])  # 3 do not divide: every device looks up all
@pytest.mark.parametrize("mesh", [{"fsdp": 8, "data": 1}, {"tensor": 2, "fsdp": 2, "data": 2}])
def test_rows_and_gradient_are_those_of_one_device(mesh, rows):
    ids = IDS[:rows]
    with jax.set_mesh(make_mesh(MeshConfig(**mesh))):
        np.testing.assert_array_equal(jax.jit(embedding_lookup)(TABLE, ids), TABLE[ids])
        gradient = jax.jit(jax.grad(lambda table: (embedding_lookup(table, ids) ** 2).sum()))(TABLE)
    expected = 2 * TABLE * np.bincount(ids.ravel(), minlength=16)[:, None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_a_table_that_does_not_divide_is_whole():
    with jax.set_mesh(make_mesh(MeshConfig(data=1, fsdp=8))):
        got = jax.jit(embedding_lookup)(jnp.asarray(TABLE[:13]), IDS)
    np.testing.assert_array_equal(got, TABLE[IDS])


@pytest.mark.parametrize("head_width", [0, 2])
@pytest.mark.parametrize("widths", [(6, 6), (8, 4, 4), (6, 4)])
def test_packed_maps_are_the_same_wide_or_apart(widths, head_width):
    x = jax.random.normal(jax.random.key(0), (2, 3, 5))

    class Packed(nn.Module):
        first: int = 0
        wide: bool = False

        @nn.compact
        def __call__(self, x):
            options = {"first": self.first, "wide": self.wide, "head_width": head_width}
            options["name"] = "p"
            return layers.packed_dense(widths, 0.5, jnp.float32, **options)(x)

    params = Packed().init(jax.random.key(1), x)
    kernel = params["params"]["p"]["kernel"]
    expected = np.split(np.asarray(x) @ np.asarray(kernel), np.cumsum(widths)[:-1], axis=-1)
    for first in (0, 1):
        for wide in (False, True):
            got = Packed(first, wide).apply(params, x)
            for a, b in zip(got, expected[first:], strict=True):
                b = b.reshape(2, 3, -1, head_width) if head_width else b
                np.testing.assert_allclose(a, b, atol=1e-6)


def test_wide_packed_maps_are_not_rounded():
    x = jax.random.normal(jax.random.key(0), (1, 2, 64))

    class Packed(nn.Module):
        wide: bool

        @nn.compact
        def __call__(self, x):
            return layers.packed_dense((2, 2), 0.5, jnp.bfloat16, name="p", wide=self.wide)(x)

    params = Packed(True).init(jax.random.key(1), x)
    wide, narrow = (Packed(w).apply(params, x)[1] for w in (True, False))
    assert (wide.dtype, narrow.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_array_equal(wide.astype(jnp.bfloat16), narrow)
    assert (wide != narrow).any()


def test_activations_by_hand():
    x = jnp.array([0.0, 1.0])
    np.testing.assert_allclose(layers.exact_gelu(x), [0, 0.841345], atol=1e-6)
    np.testing.assert_allclose(layers.tanh_gelu(x), [0, 0.841192], atol=1e-6)
    np.testing.assert_allclose(layers.quick_gelu(x), [0, 0.845795], atol=1e-6)
