import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import MeshConfig
from jaxedit.nn import attention, cache_kernel
from jaxedit.nn.attention import extend_attention
from jaxedit.nn.kv_cache import KeysValues, KVCache
from jaxedit.sharding.mesh import make_mesh

B, A, E, S, LAYERS = 1, 2, 64, 300, 3


@pytest.fixture
def extend_on_tpu(monkeypatch):
    """`extend_attention` as on a TPU, with blocks of 128 keys."""
    kernel = functools.partial(cache_kernel.cache_attention, interpret=True)
    monkeypatch.setattr(cache_kernel, "KEYS_OF_FEW", 128)

    def extend(q, new, cache, start, first):
        with monkeypatch.context() as patch:
            patch.setattr(attention, "is_on_tpu", lambda: True)
            patch.setattr(attention, "cache_attention", kernel)
            return jax.jit(lambda *x: extend_attention(*x, start, first))(q, new, cache)

    return extend


def random_case(start: int, new: int):
    """Queries, new tokens, a cache whose free positions hold NaN, and a further sequence."""
    keys = jax.random.split(jax.random.key(0), 7)
    q, k, v = (0.5 * jax.random.normal(key, (B, A, new, E)) for key in keys[:3])
    first = KeysValues(*(jax.random.normal(key, (B, A, 9, E)) for key in keys[3:5]))
    past = [jax.random.normal(key, (LAYERS, B, A, S, E)) for key in keys[5:]]
    past = [x.at[:, :, :, start:].set(jnp.nan) for x in past]
    return q, KeysValues(k, v), KVCache(*past, jnp.int32(1)), first


@pytest.mark.parametrize("start, new", [(290, 140), (256, 4)])  # blocks full and in part; few
def test_the_kernel_attends_as_to_a_joined_copy(extend_on_tpu, start, new):
    q, added, cache, first = random_case(start, new)
    expected = extend_attention(q, added, cache, start, first)
    with jax.set_mesh(make_mesh(MeshConfig(data=1, tensor=2), jax.devices()[:2])):
        got = extend_on_tpu(q, added, cache, start, first)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.isfinite(got).all()


def test_caches_on_a_tpu_are_padded(monkeypatch):
    assert cache_kernel.cache_length(2521) == 2521
    monkeypatch.setattr(cache_kernel, "is_on_tpu", lambda: True)
    assert [cache_kernel.cache_length(n) for n in (2521, 2560, 0)] == [2560, 2560, 0]
