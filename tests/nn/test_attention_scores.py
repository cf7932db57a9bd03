import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.sar import SARTraining
from jaxedit.models.varedit_block import BlockCausal
from jaxedit.nn.attention_scores import Measured
from jaxedit.nn.kv_cache import KeysValues


def measure(pattern, blocks, queries, keys):
    """The scores of random values, which do not matter, and what is attended."""
    values = jax.random.normal(jax.random.key(1), keys.shape)
    attended, scores = Measured(pattern, blocks)(queries, KeysValues(keys, values), None)
    expected, _ = pattern(queries, KeysValues(keys, values), None)
    np.testing.assert_array_equal(attended, expected)
    return np.asarray(scores)


def test_scores_by_hand():
    # Tokens 0 and 1 are a block, 2 another. Queries are (0, 1), so that exp(q . k) = 1, 3, 4.
    keys = jnp.array([[0.0, 0.0], [0.0, math.log(3)], [0.0, math.log(4)]])[None, None]
    queries = jnp.broadcast_to(jnp.array([0.0, 1.0]), keys.shape)
    scores = measure(BlockCausal((2, 1)), (2, 1), queries, keys)
    np.testing.assert_allclose(scores[0], [[1.0, 0.0], [0.5, 0.5]], rtol=1e-6)


def test_scores_are_means_over_heads_and_queries():
    # Both heads of token 1 see two tokens: with scores 1/2, and 1/4 and 3/4.
    keys = jnp.array([[[0.0], [0.0]], [[0.0], [math.log(3)]]])[None]  # [B,A,S,E] = [1,2,2,1]
    scores = measure(BlockCausal((1, 1)), (1, 1), jnp.ones_like(keys), keys)
    np.testing.assert_allclose(scores[0], [[1.0, 0.0], [0.375, 0.625]], rtol=1e-6)


@pytest.mark.parametrize(
    "pattern", [BlockCausal((12, 1, 4, 12)), SARTraining(((1, 1), (2, 2), (4, 3)))]
)
def test_blocks_see_themselves_and_earlier_blocks(pattern):
    blocks = (12, 1, 4, 12)  # the source, and three scales: more blocks than columns of a head
    queries, keys = jax.random.normal(jax.random.key(0), (2, 2, 2, 29, 3))
    scores = measure(pattern, blocks, queries, keys)
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(scores, np.tril(scores))
    assert (scores[:, np.tri(4, dtype=bool)] > 0).all()


def test_a_reference_counts_as_the_source():
    # With equal keys scale k spreads its attention evenly, over h*w references and its own tokens.
    scales = ((1, 1), (2, 2))
    queries = keys = jnp.zeros((1, 1, 9, 4))
    sar = measure(SARTraining(scales), (4, 1, 4), queries, keys)[0]
    np.testing.assert_allclose(sar[1:], [[1 / 2, 1 / 2, 0], [4 / 9, 1 / 9, 4 / 9]], rtol=1e-6)


def test_scores_of_bf16_are_f32():
    queries, keys = jax.random.normal(jax.random.key(0), (2, 1, 1, 5, 4)).astype(jnp.bfloat16)
    scores = measure(BlockCausal((2, 3)), (2, 3), queries, keys)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-6)


def test_it_is_static():
    pattern = Measured(BlockCausal((2, 3)), (2, 3))
    assert not jax.tree.leaves(pattern) and pattern == dataclasses.replace(pattern)
