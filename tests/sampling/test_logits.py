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


def release(l0: float, l1: float, top_p: float) -> float:
    """The probability of bit 1, by sorting as the release does."""
    values = np.array([l0, l1])
    order = np.argsort(values, kind="stable")  # ascending
    exponents = np.exp(values - values.max())
    sums = np.cumsum((exponents / exponents.sum())[order])
    is_removed = sums <= 1 - top_p
    is_removed[-1] = False  # the likeliest
    exponents[order[is_removed]] = 0
    return exponents[1] / exponents.sum()


@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.3, 0.5, 0.51, 0.7, 0.97, 1.0])
def test_top_p_keeps_the_likelier_value_as_the_release_does(top_p):
    p = np.concatenate([np.linspace(0.003, 0.997, 143), [0.5]])  # never where both rules meet
    both = np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1).astype(np.float32)
    got = np.asarray(logits.probability(jnp.asarray(both), jnp.float32(top_p)))
    np.testing.assert_allclose(got, [release(*pair, top_p) for pair in both], rtol=1e-5, atol=1e-6)
    likelier = np.where(both[:, 1] >= both[:, 0], got, 1 - got)
    assert (likelier >= 0.5).all() and (top_p > 0.5 or (likelier == 1).all())


def test_a_tie_as_in_the_release():
    tie = jnp.zeros((1, 2))
    assert logits.probability(tie, jnp.float32(0.5)) == 1
    assert logits.probability(tie, jnp.float32(0.51)) == 0.5


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.97, 1.0])
def test_no_logits_give_a_nan(top_p):
    sizes = jnp.array([0.0, 1e-30, 1.0, 88.0, 1e4, 3e38])
    both = jnp.stack(jnp.meshgrid(sizes, -sizes), axis=-1)
    got = logits.probability(both, jnp.float32(top_p))
    assert ((got >= 0) & (got <= 1)).all()


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
