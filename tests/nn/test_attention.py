import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn import attention
from jaxedit.nn.attention import BlockCausal, Extend, KeysValues, KVCache
from jaxedit.ops import masks

DOCUMENTS = (70, 1, 4, 16, 80)  # long ones alone, short ones together


def random_qkv(length: int, rows: int = 2, heads: int = 3, width: int = 8):
    return jax.random.normal(jax.random.key(0), (3, rows, heads, length, width))


def test_attention_by_hand():
    q = jnp.array([0.0, math.log(3.0)]).reshape(1, 1, 1, 2)
    k = jnp.array([[1.0, 0.0], [0.0, 1.0]])[None, None]
    v = jnp.array([[4.0], [8.0]])[None, None]
    np.testing.assert_allclose(attention.attend(q, k, v)[0, 0, 0], [7.0], rtol=1e-6)  # 1/4, 3/4


def test_masked_keys_do_not_matter_and_an_empty_mask_is_finite():
    q, k, v = random_qkv(4)
    mask = jnp.array([True, True, False, False])[None, None, None]
    expected = attention.attend(q, k[:, :, :2], v[:, :, :2])
    np.testing.assert_allclose(attention.attend(q, k, v, mask), expected, atol=1e-6)
    assert np.isfinite(attention.attend(q, k, v, jnp.zeros_like(mask))).all()


def test_softmax_is_f32_in_bf16():
    q, k, v = random_qkv(64).astype(jnp.bfloat16)
    out = attention.attend(q, k, v)
    exact = attention.attend(*(x.astype(jnp.float32) for x in (q, k, v)))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.02)


def test_block_causal_equals_dense_mask():
    q, k, v = random_qkv(sum(DOCUMENTS))
    dense = attention.attend(q, k, v, jnp.asarray(masks.block_causal(DOCUMENTS))[None, None])
    np.testing.assert_allclose(attention.attend_block_causal(q, k, v, DOCUMENTS), dense, atol=1e-6)


@pytest.mark.parametrize("length", [1, 300])
def test_causal_equals_dense_mask(length):
    q, k, v = random_qkv(length)
    dense = attention.attend(q, k, v, jnp.tril(jnp.ones((length, length), bool))[None, None])
    np.testing.assert_allclose(jax.jit(attention.attend_causal)(q, k, v), dense, atol=1e-5)


def test_hidden_keys_are_seen_by_themselves_only():
    q, k, v = random_qkv(40, rows=1)
    visible = jnp.arange(40)[None] >= 7
    attend = jax.jit(attention.attend_causal)
    out = attend(q, k, v, visible)
    np.testing.assert_allclose(out[:, :, :8], v[:, :, :8], atol=1e-5)
    alone = attend(q[:, :, 7:], k[:, :, 7:], v[:, :, 7:])
    np.testing.assert_allclose(out[:, :, 7:], alone, atol=1e-5)


def test_extending_a_cache_equals_the_whole_sequence():
    q, k, v = random_qkv(sum(DOCUMENTS))
    whole = attention.attend_block_causal(q, k, v, DOCUMENTS)
    starts = [0, *np.cumsum(DOCUMENTS)]
    B, A, S, E = k.shape
    cache = KVCache.empty((2, B, A, S, E), k.dtype)._replace(layer=jnp.int32(1))
    for i in range(len(DOCUMENTS)):
        part = slice(starts[i], starts[i + 1])
        new = KeysValues(k[:, :, part], v[:, :, part])
        view = Extend(starts[i]) if i else BlockCausal(DOCUMENTS[:1], keep=True)
        out, kept = view(q[:, :, part], new, cache if i else None)
        np.testing.assert_allclose(out, whole[:, :, part], atol=1e-6)
        stacked = KeysValues(*(jnp.stack([jnp.zeros_like(x), x]) for x in kept))
        cache = cache.write(stacked, starts[i])
    np.testing.assert_array_equal(cache.keys[1], k)
    assert not cache.keys[0].any()


def test_training_view_keeps_nothing():
    q, k, v = random_qkv(3)
    assert BlockCausal((3,))(q, KeysValues(k, v), None)[1] is None


def test_views_are_static():
    assert not jax.tree.leaves([BlockCausal((1, 2)), Extend(3)])
    assert hash(BlockCausal((1, 2))) == hash(BlockCausal((1, 2)))


def test_unit_has_length_one_and_a_finite_gradient_at_zero():
    np.testing.assert_allclose(attention.unit(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)
    gradient = jax.grad(lambda x: attention.unit(x).sum())(jnp.zeros(4))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "value, is_learning", [(math.log(4.0), True), (math.log(100.0) + 1, False)]
)
def test_attention_scale_stops_at_100(value, is_learning):
    layer = attention.SelfAttention(heads=2, std=0.3, proj_std=0.3)
    x = jax.random.normal(jax.random.key(1), (1, 5, 8))
    table = jnp.ones((2, 5, 2))
    params = layer.init(jax.random.key(0), x, table, BlockCausal((5,)), None)["params"]

    def loss(scale):
        variables = {"params": params | {"scale": scale}}
        return layer.apply(variables, x, table, BlockCausal((5,)), None)[0].sum()

    assert bool(jax.grad(loss)(jnp.full(2, value)).any()) == is_learning
