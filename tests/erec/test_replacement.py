import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.erec.replacement import invert_noise, replacing
from jaxedit.sampling.lock import BitLock, source_bits

RANDOM = np.random.default_rng(0)
SOURCE = jnp.float32(RANDOM.normal(size=(3, 4, 4, 5)))
FEATURE = jnp.float32(RANDOM.normal(size=(3, 2, 4, 4, 5)))
BITS = jnp.array(RANDOM.random((3, 2, 4, 5)) < 0.5)
UNIFORMS = (jnp.float32(RANDOM.random((3, 4, 5))),)
LOG_ODDS = jnp.float32(2 * RANDOM.normal(size=(3, 2, 4, 5)))
OWN = source_bits(SOURCE, FEATURE, (2, 2), False)
SAME = LOG_ODDS[:, [0, 0]]  # of both paths


def kept(what, record, tau=0.3, given=None):
    lock = replacing(SOURCE, UNIFORMS, jnp.float32(tau), what, given)
    return np.asarray(lock.keep(BITS, FEATURE, record, 0, (2, 2), False))


@pytest.mark.parametrize("what", ["bits", "noise"])
def test_the_first_path_is_the_source(what):
    np.testing.assert_array_equal(kept(what, LOG_ODDS)[:, 0], OWN[:, 0])


def test_bits_by_the_difference_of_their_probabilities():
    p = 1 / (1 + np.exp(-np.asarray(LOG_ODDS, np.float64)))
    expected = np.where(abs(p[:, 1] - p[:, 0]) < 0.3, OWN[:, 1], BITS[:, 1])
    np.testing.assert_array_equal(kept("bits", LOG_ODDS)[:, 1], expected)
    np.testing.assert_array_equal(kept("bits", LOG_ODDS, tau=0)[:, 1], BITS[:, 1])


def test_equal_paths_keep_the_source():
    np.testing.assert_array_equal(kept("noise", SAME)[:, 1], OWN[:, 0])
    np.testing.assert_array_equal(kept("tokens", SAME)[:, 1], OWN[:, 1])


def test_a_certain_edit_has_its_way_whatever_the_noise():
    sure = LOG_ODDS.at[:, 1].set(jnp.where(BITS[:, 1], jnp.inf, -jnp.inf))
    np.testing.assert_array_equal(kept("noise", sure)[:, 1], BITS[:, 1])


def test_a_given_mask_locks_every_form():
    nowhere = BitLock(SOURCE, (jnp.zeros((3, 4), bool),))
    for what in ("tokens", "bits", "noise"):
        np.testing.assert_array_equal(kept(what, LOG_ODDS, tau=-1, given=nowhere)[:, 1], OWN[:, 1])


def test_inverted_noise_draws_the_bit_again_and_stays_uniform():
    u, p = RANDOM.random(20_000), RANDOM.random(20_000)
    bit = RANDOM.random(20_000) < p
    inverted = np.asarray(invert_noise(u, jnp.asarray(p), jnp.asarray(bit)))
    np.testing.assert_array_equal(inverted < np.float32(p), bit)
    np.testing.assert_allclose(np.histogram(inverted, 10, (0, 1))[0], 2000, atol=200)
