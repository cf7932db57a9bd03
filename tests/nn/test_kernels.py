import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import MeshConfig
from jaxedit.nn import kernels
from jaxedit.nn.kernels import blockwise_attention, dense_attention, splash_attention, splash_block
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
    assert_equal(
        lambda *x: splash_attention(*x, ends, interpret=True),
        lambda *x: dense_attention(*x, mask),
        qkv,
    )


def test_hidden_keys_equal_a_dense_mask():
    S = 140
    visible = jnp.arange(S)[None] >= jnp.array([[7], [0]])
    mask = jnp.tril(visible[:, None, None] | jnp.eye(S, dtype=bool)[None, None])
    ends = np.arange(1, S + 1)
    assert_equal(
        lambda *x: splash_attention(*x, ends, visible, see_themselves=True, interpret=True),
        lambda *x: dense_attention(*x, mask),
        random_qkv(S, S),
    )


def test_keys_that_nobody_sees_and_a_mesh():
    visible = jnp.arange(150)[None] < jnp.array([[9], [150]])
    qkv = random_qkv(20, 150)
    with jax.set_mesh(make_mesh(MeshConfig(data=2, tensor=2), jax.devices()[:4])):
        assert_equal(
            lambda *x: splash_attention(*x, np.full(20, 150), visible, interpret=True),
            lambda *x: dense_attention(*x, visible[:, None, None]),
            qkv,
        )


def test_blocks_pad_little():
    lengths = {100: 128, 300: 384, 777: 896, 768: 384, 1024: 512, 2167: 384, 3545: 512}
    assert {n: splash_block(n) for n in lengths} == lengths


def gradients(function, qkv):
    return jax.jit(jax.grad(lambda qkv: (function(*qkv) ** 2).sum()))(qkv)


@pytest.mark.parametrize("mask", [None, "row", "square"])
def test_blocks_of_queries_equal_all_at_once(mask):
    qkv, visible = random_qkv(50, 50, width=8), jnp.arange(50)[None] >= jnp.array([[3], [20]])
    if mask is not None:
        mask = visible[:, None, None]
        mask = jnp.tril(mask | jnp.eye(50, dtype=bool)) if mask == "square" else mask
    blocks = gradients(lambda *x: blockwise_attention(*x, mask, blocks=4), qkv)
    at_once = gradients(lambda *x: dense_attention(*x, mask), qkv)
    np.testing.assert_allclose(blocks, at_once, atol=2e-5)


def test_kernels_are_for_long_sequences_of_the_right_type(monkeypatch):
    q, k, _ = random_qkv(1024, 1024, rows=1, heads=1)
    half = q.astype(jnp.bfloat16)
    assert not kernels.takes_splash(q, k) and not kernels.takes_cudnn(half, k)
    assert kernels.kernel_length(2167, 64) == 2167
    monkeypatch.setattr(kernels, "device_kind", lambda: "TPU v5 lite")
    assert kernels.takes_splash(q, k) and not kernels.takes_splash(q[:, :, :200], k)
    lengths = {
        (777, 128): 896,
        (2167, 64): 2304,
        (3545, 128): 3584,
        (2304, 64): 2304,
        (2167, 40): 2167,
        (85, 64): 85,
    }
    assert {key: kernels.kernel_length(*key) for key in lengths} == lengths
    monkeypatch.setattr(kernels, "device_kind", lambda: "NVIDIA A100-SXM4-80GB")
    assert kernels.takes_cudnn(half, k) and not kernels.takes_cudnn(q, k)
    monkeypatch.setattr(kernels, "device_kind", lambda: "Tesla T4")
    assert not kernels.takes_cudnn(half, k)
