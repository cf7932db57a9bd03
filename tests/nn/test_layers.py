import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn import layers


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
