import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.sampling import logits


def pair(p: float) -> jnp.ndarray:
    """Logits of a bit that is 1 with probability p."""
    return jnp.array([0.0, math.log(p / (1 - p))])


def test_guidance_by_hand():
    # (3 * 2 - 2 * 1) / 0.5
    got = logits.guide(jnp.array([2.0]), jnp.array([1.0]), jnp.float32(3), jnp.float32(0.5))
    np.testing.assert_allclose(got, [8.0])


def test_guidance_one_is_the_conditional_branch():
    got = logits.guide(jnp.array([2.0]), jnp.array([1e6]), jnp.float32(1), jnp.float32(2))
    np.testing.assert_allclose(got, [1.0])


@pytest.mark.parametrize(
    "p, top_p, expected",
    [(0.02, 0.97, 0.0), (0.98, 0.97, 1.0), (0.04, 0.97, 0.04), (0.02, 1.0, 0.02), (0.4, 0.5, 0.0)],
)
def test_top_p_drops_the_unlikely_value(p, top_p, expected):
    got = logits.probability(pair(p), jnp.float32(top_p))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_bits_are_drawn_below_their_probability():
    both = jnp.stack([pair(0.3), pair(0.3)])
    got = logits.choose_bits(both, jnp.float32(1), jnp.array([0.29, 0.31]))
    np.testing.assert_array_equal(got, [True, False])


def test_greedy_takes_the_likelier_value_and_zero_at_a_tie():
    both = jnp.stack([pair(0.6), pair(0.4), pair(0.5)])
    np.testing.assert_array_equal(
        logits.choose_bits(both, jnp.float32(1), None), [True, False, False]
    )


def test_extreme_logits_stay_finite():
    huge = jnp.array([[-1e4, 1e4], [1e4, -1e4]])
    np.testing.assert_array_equal(logits.probability(huge, jnp.float32(1)), [1.0, 0.0])
