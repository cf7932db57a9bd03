"""Shares of disturbed rows, and what is left of them."""

import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.train.objectives.corruption import corrupt, draw_dropped, randomize_tokens


def test_shares_of_dropped_conditions():
    text, image = draw_dropped(rng.key_for(0, "loss"), 40_000, 0.05)
    kinds = [text & image, image & ~text, text & ~image]
    np.testing.assert_allclose([k.mean() for k in kinds], [0.05] * 3, atol=0.005)
    text, image = draw_dropped(rng.key_for(0, "loss"), 100, 0.0)
    assert not text.any() and not image.any()


def test_random_rows_are_copies():
    source, target = jnp.zeros((400, 9), jnp.int32), jnp.ones((400, 9), jnp.int32)
    key = rng.key_for(0, "test")
    new_source, new_target, is_random = randomize_tokens(key, source, target, 0.25, 7)
    assert abs(float(is_random.mean()) - 0.25) < 0.07
    cells = np.asarray((new_source != 0) | (new_target != 1))
    assert not cells[~is_random].any()
    assert abs(float(cells[is_random].mean()) - 0.5) < 0.1
    assert float(cells[is_random].mean(1).std()) > 0.2
    np.testing.assert_array_equal(new_source[cells], new_target[cells])
    assert set(np.unique(new_source[cells])) == set(range(7))


def test_spoilt_rows_keep_some_of_the_target():
    target = jnp.full((400, 16), 7, jnp.int32)
    seen = np.asarray(corrupt(rng.key_for(4, "loss"), None, target, 0.5, 7))
    spoilt = (seen != 7).mean(1)
    assert abs((spoilt > 0).mean() - 0.5) < 0.07
    assert abs((spoilt == 1).mean() - 0.25) < 0.07  # nothing left of half of them
    assert 0.3 < spoilt[(0 < spoilt) & (spoilt < 1)].mean() < 0.7
    assert set(np.unique(seen)) == set(range(8))


def test_half_of_the_spoilt_rows_read_the_source():
    source, target = jnp.full((400, 16), 8, jnp.int32), jnp.full((400, 16), 7, jnp.int32)
    seen = np.asarray(corrupt(rng.key_for(5, "loss"), source, target, 1.0, 7))
    reads_source = (seen == 8).any(1)
    assert abs(reads_source.mean() - 0.5) < 0.08
    assert set(np.unique(seen[reads_source])) == {7, 8}
    assert set(np.unique(seen[~reads_source])) == set(range(8))
