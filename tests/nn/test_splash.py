import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import MeshConfig
from jaxedit.nn.attend import attend
from jaxedit.nn.splash import block_length, splash
from jaxedit.sharding.mesh import make_mesh


def random_qkv(queries: int, keys: int, rows: int = 2, heads: int = 2, width: int = 64):
    shapes = (rows, heads, queries, width), *[(rows, heads, keys, width)] * 2
    return tuple(0.3 * jax.random.normal(jax.random.key(i), s) for i, s in enumerate(shapes))


def both(function, qkv):
    """Outputs and gradients."""

    def loss(qkv):
        out = function(*qkv)
        return (out**2).sum(), out

    return jax.jit(jax.grad(loss, has_aux=True))(qkv)


def assert_equal(kernel, plain, qkv):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        both(kernel, qkv),
        both(plain, qkv),
    )


@pytest.mark.parametrize("keys", [130, 200])
def test_prefixes_equal_a_dense_mask(keys):
    ends = np.repeat([1, 5, 100, keys], [1, 4, 95, 30])
    mask = jnp.arange(keys)[None, None, None] < jnp.asarray(ends)[None, None, :, None]
    qkv = random_qkv(130, keys)
    assert_equal(lambda *x: splash(*x, ends, interpret=True), lambda *x: attend(*x, mask), qkv)


def test_hidden_keys_equal_a_dense_mask():
    S = 140
    visible = jnp.arange(S)[None] >= jnp.array([[7], [0]])
    mask = jnp.tril(visible[:, None, None] | jnp.eye(S, dtype=bool)[None, None])
    ends = np.arange(1, S + 1)
    assert_equal(
        lambda *x: splash(*x, ends, visible, see_themselves=True, interpret=True),
        lambda *x: attend(*x, mask),
        random_qkv(S, S),
    )


def test_keys_that_nobody_sees_and_a_mesh():
    visible = jnp.arange(150)[None] < jnp.array([[9], [150]])
    qkv = random_qkv(20, 150)
    with jax.set_mesh(make_mesh(MeshConfig(data=2, tensor=2), jax.devices()[:4])):
        assert_equal(
            lambda *x: splash(*x, np.full(20, 150), visible, interpret=True),
            lambda *x: attend(*x, visible[:, None, None]),
            qkv,
        )


def test_blocks_pad_little():
    lengths = {100: 128, 300: 384, 777: 512, 2167: 384, 3545: 512, 1024: 512}
    assert {n: block_length(n) for n in lengths} == lengths
