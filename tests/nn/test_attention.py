import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn import attention
from jaxedit.nn.attend import attend_block_causal
from jaxedit.nn.attention import BlockCausal, Extend, KeysValues, KVCache

DOCUMENTS = (70, 1, 4, 16, 80)  # long ones alone, short ones together


def random_qkv(length: int, rows: int = 2, heads: int = 3, width: int = 8):
    return jax.random.normal(jax.random.key(0), (3, rows, heads, length, width))


def test_extending_a_cache_equals_the_whole_sequence():
    q, k, v = random_qkv(sum(DOCUMENTS))
    whole = attend_block_causal(q, k, v, DOCUMENTS)
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
