import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.varedit_block import BlockCausal, CosineAttention, Extend, inverse_length
from jaxedit.nn.attention import block_causal_attention
from jaxedit.nn.kv_cache import KeysValues, KVCache

BLOCKS = (70, 1, 4, 16, 80)  # long ones alone, short ones together


def random_qkv(length: int, rows: int = 2, heads: int = 3, width: int = 8):
    return jax.random.normal(jax.random.key(0), (3, rows, heads, length, width))


def test_extending_a_cache_equals_the_whole_sequence():
    q, k, v = random_qkv(sum(BLOCKS))
    whole = block_causal_attention(q, k, v, BLOCKS)
    starts = [0, *np.cumsum(BLOCKS).tolist()]
    B, A, S, E = k.shape
    cache = KVCache.empty((2, B, A, S, E), k.dtype)._replace(layer=jnp.int32(1))
    for i in range(len(BLOCKS)):
        part = slice(starts[i], starts[i + 1])
        new = KeysValues(k[:, :, part], v[:, :, part])
        pattern = Extend(starts[i]) if i else BlockCausal(BLOCKS[:1], keep=True)
        out, kept = pattern(q[:, :, part], new, cache if i else None)
        np.testing.assert_allclose(out, whole[:, :, part], atol=1e-6)
        stacked = KeysValues(*(jnp.stack([jnp.zeros_like(x), x]) for x in kept))
        cache = cache.write(stacked, starts[i])
    np.testing.assert_array_equal(cache.keys[1], k)
    assert not cache.keys[0].any()


def test_training_pattern_keeps_nothing():
    q, k, v = random_qkv(3)
    assert BlockCausal((3,))(q, KeysValues(k, v), None)[1] is None


def test_patterns_are_static():
    assert not jax.tree.leaves([BlockCausal((1, 2)), Extend(3)])
    assert hash(BlockCausal((1, 2))) == hash(BlockCausal((1, 2)))


def test_a_normalised_vector_has_length_one_and_a_finite_gradient_at_zero():
    np.testing.assert_allclose(inverse_length(jnp.array([3.0, 4.0])), [0.2], rtol=1e-6)
    gradient = jax.grad(lambda x: (x * inverse_length(x)).sum())(jnp.zeros(4))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "value, is_learning", [(math.log(4.0), True), (math.log(100.0) + 1, False)]
)
def test_attention_scale_stops_at_100(value, is_learning):
    layer = CosineAttention(heads=2, std=0.3, proj_std=0.3)
    x = jax.random.normal(jax.random.key(1), (1, 5, 8))
    table = jnp.ones((2, 5, 2))
    params = layer.init(jax.random.key(0), x, table, BlockCausal((5,)), None)["params"]

    def loss(scale):
        variables = {"params": params | {"scale": scale}}
        return layer.apply(variables, x, table, BlockCausal((5,)), None)[0].sum()

    assert bool(jax.grad(loss)(jnp.full(2, value)).any()) == is_learning
