import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models import sar
from jaxedit.nn.attention import dot_product_attention
from jaxedit.nn.kv_cache import KeysValues, KVCache

SCALES = ((1, 1), (2, 2), (4, 3))
Ls, Lt = 12, 17


def random_qkv():
    return jax.random.normal(jax.random.key(0), (3, 2, 2, Ls + Lt, 4))


def test_pool_windows_overlap_when_they_must():
    # 3 columns to 2: windows {0,1} and {1,2}; 4 rows to 2: {0,1} and {2,3}.
    x = jnp.arange(12.0).reshape(1, 1, 12, 1)
    pooled = sar.pool(x, (4, 3), (2, 2)).reshape(2, 2)
    np.testing.assert_allclose(pooled, [[2.0, 3.0], [8.0, 9.0]])


def test_pool_to_the_same_grid_is_the_identity():
    x = jax.random.normal(jax.random.key(0), (1, 2, 12, 3), jnp.bfloat16)
    assert sar.pool(x, (4, 3), (4, 3)) is x


def test_training_pattern_equals_one_masked_attention():
    q, k, v = random_qkv()
    got, kept = sar.SARTraining(SCALES)(q, KeysValues(k, v), None)
    references = sar.references(KeysValues(k[:, :, :Ls], v[:, :, :Ls]), SCALES)
    level = np.repeat([0, 1, 2], [1, 4, 12])  # of each target token
    mask = np.concatenate([level[:, None] == level[None], level[:, None] >= level[None]], axis=1)
    keys = jnp.concatenate([*(r.keys for r in references), k[:, :, Ls:]], axis=2)
    values = jnp.concatenate([*(r.values for r in references), v[:, :, Ls:]], axis=2)
    target = dot_product_attention(q[:, :, Ls:], keys, values, jnp.asarray(mask)[None, None])
    source = dot_product_attention(q[:, :, :Ls], k[:, :, :Ls], v[:, :, :Ls])
    np.testing.assert_allclose(got, jnp.concatenate([source, target], axis=2), atol=1e-6)
    assert kept is None


def test_sampling_patterns_equal_the_training_pattern():
    q, k, v = random_qkv()
    expected, _ = sar.SARTraining(SCALES)(q, KeysValues(k, v), None)
    source = KeysValues(k[:, :, :Ls], v[:, :, :Ls])
    out, references = sar.SARPrefill(SCALES)(q[:, :, :Ls], source, None)
    np.testing.assert_allclose(out, expected[:, :, :Ls], atol=1e-6)
    cache, start = KVCache.empty((1, 2, 2, Lt, 4), k.dtype), 0
    for (h, w), reference in zip(SCALES, references, strict=True):
        part = slice(Ls + start, Ls + start + h * w)
        new = KeysValues(k[:, :, part], v[:, :, part])
        out, kept = sar.SARDecode(start)(q[:, :, part], new, (cache, reference))
        np.testing.assert_allclose(out, expected[:, :, part], atol=1e-6)
        cache = cache.write(KeysValues(kept.keys[None], kept.values[None]), start)
        start += h * w
