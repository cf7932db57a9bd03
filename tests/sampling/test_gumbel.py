import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxedit.config import MeshConfig
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.methods import truncate
from jaxedit.sharding.mesh import make_mesh

SEEDS = jnp.arange(8) * 7


def test_noise_has_the_moments_of_a_standard_gumbel():
    noise = np.asarray(gumbel(SEEDS, 0, 3, 20000))
    assert abs(noise.mean() - 0.5772) < 0.01  # Euler's constant
    assert abs(noise.var() - np.pi**2 / 6) < 0.02


def test_noise_depends_on_seed_row_and_step_alone():
    noise = np.asarray(gumbel(SEEDS, 0, 3, 16))
    np.testing.assert_array_equal(gumbel(SEEDS[::-1][:3], 0, 3, 16), noise[::-1][:3])
    for other in (gumbel(SEEDS + 1, 0, 3, 16), gumbel(SEEDS, 1, 3, 16), gumbel(SEEDS, 0, 4, 16)):
        assert np.all(np.asarray(other) != noise)


def test_noise_is_the_same_bits_eager_jitted_scanned_and_sharded():
    eager = np.stack([gumbel(SEEDS, 0, step, 16) for step in range(3)])
    jitted = jax.jit(gumbel, static_argnums=(1, 3))
    np.testing.assert_array_equal(jitted(SEEDS, 0, 2, 16), eager[2])

    @jax.jit
    def scanned(seeds):
        return jax.lax.scan(lambda c, step: (c, gumbel(seeds, 0, step, 16)), 0, jnp.arange(3))[1]

    np.testing.assert_array_equal(scanned(SEEDS), eager)
    mesh = make_mesh(MeshConfig(data=8))
    cut = jax.NamedSharding(mesh, PartitionSpec("data"))
    sharded = jitted(jax.device_put(SEEDS, cut), 0, 2, 16)
    assert len(sharded.sharding.device_set) == 8
    np.testing.assert_array_equal(sharded, eager[2])


def test_the_first_of_equals_is_chosen_and_excluded_codes_never():
    logits = jnp.array([[1.0, 3.0, 3.0], [-jnp.inf, 0.0, -jnp.inf]])
    assert choose(logits, jnp.zeros((2, 3))).tolist() == [1, 1]
    assert choose(logits, jnp.array([[9.0, 0, 0], [9.0, 0, 9.0]])).tolist() == [0, 1]


# 99.9 % quantiles of chi-square with (codes - 1) degrees of freedom
@pytest.mark.parametrize("top_k, bound", [(6, 20.5), (3, 13.8)])
def test_draws_follow_the_truncated_softmax(top_k, bound):
    logits = truncate(jnp.array([0.5, -1.0, 2.0, 0.0, 1.0, -0.5]), {"top_k": top_k})
    draws = choose(logits[None], gumbel(jnp.arange(6000), 0, 0, 6))
    expected = np.asarray(jax.nn.softmax(logits)) * 6000
    counts = np.bincount(draws, minlength=6)
    kept = expected > 0
    assert kept.sum() == top_k and counts[~kept].sum() == 0
    assert np.sum((counts - expected)[kept] ** 2 / expected[kept]) < bound
