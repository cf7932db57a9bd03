import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn.kv_cache import ByHead, Flat


@pytest.mark.parametrize("layout", [ByHead(8), Flat(8)], ids=["by_head", "flat"])
def test_a_cache_grows_and_is_written_in_place_of_zeros(layout):
    draw = np.random.default_rng(0)
    old, new = (jnp.asarray(draw.standard_normal((2, n, 3, 8), np.float32)) for n in (2, 1))
    cache = layout.grow(layout.store(old), 5)
    assert layout.length(cache) == 5
    written = layout.write(cache, new, jnp.array([3]))
    zeros = jnp.zeros((2, 1, 3, 8))
    np.testing.assert_array_equal(
        written, layout.store(jnp.concatenate([old, zeros, new, zeros], 1))
    )
    written = layout.write(cache, new, jnp.array([4, 2]))  # each row at its own position
    rows = [[old[:1], zeros[:1], zeros[:1], new[:1]], [old[1:], new[1:], zeros[:1], zeros[:1]]]
    expected = jnp.concatenate([jnp.concatenate(row, 1) for row in rows])
    np.testing.assert_array_equal(written, layout.store(expected))
