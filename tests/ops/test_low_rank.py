import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn.layers import dense
from jaxedit.ops import low_rank
from jaxedit.ops.low_rank import LowRank


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def by_hand():
    """Rank 1: W = I, A = (1, 2), B = (3, 4), scale 0.5."""
    a, b = np.array([[1.0], [2.0]], np.float32), np.array([[3.0, 4.0]], np.float32)
    return LowRank(np.eye(2, dtype=np.float32), a, b, 0.5)


def multiply(x, matrix):
    layer = dense(matrix.kernel.shape[1], 0.5, jnp.float32, use_bias=False)
    return layer.apply({"params": {"kernel": matrix}}, x)


def test_by_hand():
    matrix = by_hand()
    wanted = [[2.5, 2.0], [3.0, 5.0]]
    np.testing.assert_array_equal(low_rank.to_dense(matrix), wanted)
    x = jnp.array([[1.0, 1.0]])  # x A = 3; 0.5 * 3 * B = (4.5, 6)
    np.testing.assert_array_equal(multiply(x, matrix), [[5.5, 7.0]])
    np.testing.assert_array_equal(low_rank.to_dense(np.eye(2, dtype=np.float32)), np.eye(2))


@pytest.mark.parametrize("parts", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dense_layer_equals_that_of_the_sum(dtype, parts):
    layer = dense(12, 0.5, jnp.dtype(dtype), use_bias=not parts, parts=parts)
    x = normal(2, 5, 8)
    params = jax.tree.map(jnp.asarray, layer.init(jax.random.key(0), x)["params"])
    matrix = LowRank(params["kernel"], normal(8, 2, seed=1), normal(2, 12, seed=2), 0.25)
    found = layer.apply({"params": params | {"kernel": matrix}}, x)
    wanted = layer.apply({"params": params | {"kernel": low_rank.to_dense(matrix)}}, x)
    assert found.dtype == wanted.dtype == dtype and found.shape == wanted.shape
    atol = 1e-5 if dtype == "float32" else 0.1
    np.testing.assert_allclose(*(np.float32(y) for y in (found, wanted)), atol=atol)


def test_no_addition_is_exactly_nothing():
    layer, x = dense(12, 0.5, jnp.bfloat16), normal(2, 5, 8)
    params = layer.init(jax.random.key(0), x)["params"]
    matrix = LowRank(params["kernel"], normal(8, 2), np.zeros((2, 12), np.float32), 4.0)
    with_addition = layer.apply({"params": params | {"kernel": matrix}}, x)
    np.testing.assert_array_equal(with_addition, layer.apply({"params": params}, x))


def test_gradients_are_those_of_the_sum():
    kernel, a, b, x = normal(8, 12), normal(8, 2, seed=1), normal(2, 12, seed=2), normal(5, 8)

    def loss(a, b):
        return jnp.sum(jnp.sin(multiply(x, LowRank(kernel, a, b, 0.5))))

    def loss_of_sum(a, b):
        return jnp.sum(jnp.sin(x @ low_rank.merge(kernel, a, b, 0.5)))

    for found, wanted in zip(
        jax.grad(loss, (0, 1))(a, b), jax.grad(loss_of_sum, (0, 1))(a, b), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_matrices_that_do_not_fit():
    matrix = by_hand()
    with pytest.raises((TypeError, ValueError)):
        low_rank.merge(matrix.kernel, matrix.b, matrix.a.T[:, :1], 1.0)
