import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.ops.divergence import (
    bits_jensen_shannon,
    bits_negative_log_likelihood,
    jensen_shannon,
    log_bernoulli,
    negative_log_likelihood,
)


def log(*p):
    with np.errstate(divide="ignore"):
        return jnp.log(jnp.array(p, jnp.float32))


def test_by_hand():
    # Against the middle (3/4, 1/4): KL2(p, m) = log2(4/3), KL2(q, m) = -log2(3)/2 + 1/2 + ...
    p, q = (1.0, 0.0), (0.5, 0.5)
    expected = 0.5 * np.log2(4 / 3) + 0.5 * (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2))
    np.testing.assert_allclose(jensen_shannon(log(*p), log(*q)), expected, rtol=1e-6)
    assert negative_log_likelihood(log(0.25, 0.75), jnp.int32(0)) == -np.log(np.float32(0.25))


def test_disjoint_outcomes_are_one_bit_apart():
    assert jensen_shannon(log(0.5, 0.5, 0, 0), log(0, 0, 0.5, 0.5)) == 1
    assert negative_log_likelihood(log(1, 0), jnp.int32(1)) == np.inf


def test_symmetric_bounded_and_zero_for_equals():
    logits = 20 * jax.random.normal(jax.random.key(0), (2, 64, 100))
    p, q = jax.nn.log_softmax(logits)
    js = jensen_shannon(p, q)
    np.testing.assert_array_equal(js, jensen_shannon(q, p))
    assert (js >= 0).all() and (js <= 1).all() and (js > 0.5).any()
    np.testing.assert_array_equal(jensen_shannon(p, p), 0)


def test_bits_against_all_tokens():
    log_odds = 2 * jax.random.normal(jax.random.key(1), (2, 50, 3))
    each = log_bernoulli(log_odds)  # [2,50,3,2]
    tokens = np.array(list(itertools.product((0, 1), repeat=3)))
    joint = sum(each[:, :, q][..., tokens[:, q]] for q in range(3))  # [2,50,8]
    exact = jensen_shannon(*joint)
    bound = bits_jensen_shannon(*log_odds)
    assert (bound >= exact - 1e-6).all() and (bound <= 1).all()
    single = bits_jensen_shannon(log_odds[0, :, :1], log_odds[1, :, :1])
    np.testing.assert_allclose(single, jensen_shannon(*each[:, :, 0]), rtol=1e-6)

    bits = jnp.broadcast_to(jnp.array(tokens[5], bool), (50, 3))
    nll = bits_negative_log_likelihood(log_odds[0], bits)
    np.testing.assert_allclose(nll, -joint[0, :, 5], rtol=1e-5)


def test_certain_bits():
    infinite = jnp.array([[jnp.inf, -jnp.inf]])
    assert bits_jensen_shannon(infinite, infinite) == 0
    assert bits_jensen_shannon(infinite, -infinite) == 1
    assert bits_negative_log_likelihood(infinite, jnp.array([[True, False]])) == 0
    assert bits_negative_log_likelihood(infinite, jnp.array([[False, False]])) == jnp.inf
