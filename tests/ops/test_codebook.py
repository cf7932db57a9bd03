import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.ops import codebook as ops

CODES = jnp.array([[4.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 1.0]])


def test_nearest_code_by_hand():
    z = jnp.array([[[0.1, 1.6]], [[3.0, 0.2]], [[0.0, 1.5]]])  # the last: entries 1 and 2 are equal
    codes = ops.nearest_code(z, CODES, unit_norm=False)
    assert codes.dtype == jnp.int32
    np.testing.assert_array_equal(codes, [[2], [0], [1]])
    np.testing.assert_array_equal(ops.nearest_code(z, CODES, unit_norm=True), [[1], [0], [1]])


@pytest.mark.parametrize("unit_norm", [False, True])
def test_a_code_is_its_own_nearest(unit_norm):
    codebook = jax.random.normal(rng.key_for(0, "test"), (32, 4))
    codes = jnp.arange(32).reshape(4, 8)
    vectors = ops.look_up(codebook, codes, unit_norm)
    assert vectors.shape == (4, 8, 4)
    np.testing.assert_array_equal(ops.nearest_code(vectors, codebook, unit_norm), codes)
    if unit_norm:
        np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=-1), 1, atol=1e-6)


def test_kmeans_by_hand():
    points = jnp.array([[0.0], [1.0], [9.0], [11.0]])
    centres = jnp.array([[0.0], [2.0], [50.0]])
    once = ops.kmeans(points, centres, unit_norm=False, iterations=1)
    np.testing.assert_allclose(once, [[0.5], [10.0], [50.0]])  # 1 is nearer to 0: first of equals
    more = ops.kmeans(points, centres, unit_norm=False, iterations=5)
    np.testing.assert_allclose(more, [[0.5], [10.0], [50.0]])  # no points, no move


def test_kmeans_on_the_sphere_keeps_unit_length():
    points = jax.random.normal(rng.key_for(0, "test"), (64, 3))
    centres = ops.kmeans(points, points[:8], unit_norm=True, iterations=4)
    np.testing.assert_allclose(jnp.linalg.norm(centres, axis=-1), 1, atol=1e-6)

    def distance(centres):
        unit = ops.maybe_normalize(points, True)
        return jnp.mean(
            (ops.look_up(centres, ops.nearest_code(points, centres, True), True) - unit) ** 2
        )

    assert distance(centres) < distance(points[:8])


def test_counts_and_perplexity_by_hand():
    counts = ops.count_codes(jnp.array([[0, 2], [2, 0]]), 4)
    np.testing.assert_array_equal(counts, [2, 0, 2, 0])
    np.testing.assert_allclose(ops.perplexity(counts), 2, rtol=1e-6)
    np.testing.assert_allclose(ops.perplexity(jnp.array([3.0, 0.0])), 1, rtol=1e-6)


def test_spread_points_are_far_apart():
    points = jnp.array([[0.0, 0.0]] * 50 + [[9.0, 0.0], [0.0, 9.0]])
    chosen = ops.kmeans_plus_plus(rng.key_for(0, "test"), points, 3)
    assert {tuple(row) for row in np.asarray(chosen)} == {(0.0, 0.0), (9.0, 0.0), (0.0, 9.0)}
