import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn.attend import attend
from jaxedit.nn.attention import KeysValues
from jaxedit.nn.decode_attention import ByHead, Flat, Span, decode_attention

B, R, A, G, E, N, S = 2, 3, 4, 2, 8, 5, 6
LAYOUTS = pytest.mark.parametrize("layout", [ByHead(E), Flat(E)], ids=["by_head", "flat"])


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@LAYOUTS
def test_one_softmax_over_pictures_null_and_own_slots(layout):
    queries = normal(0, B, R, A, E)
    picture, null, own = ([normal(s, P, n, G, E) for s in (i, i + 1)]
                          for i, P, n in ((1, B, N), (3, 1, N), (5, B * R, S)))  # fmt: skip
    bias = jnp.where(jnp.arange(S) < 4, 0.0, -jnp.inf)[None, None, None]
    bias = bias.at[..., 0].set(0.7)
    store = lambda kv: KeysValues(*(layout.store(x) for x in kv))  # noqa: E731
    spans = [Span(store(picture), 2), Span(store(null), 1)]
    got = decode_attention(layout, queries, store(own), jnp.tile(bias, (B * R, 1, 1, 1)), spans)

    def plain(b, r):
        shared = [x[b : b + 1] for x in picture] if r < 2 else null
        k, v = (
            jnp.repeat(jnp.concatenate([s, o[b * R + r][None]], 1), A // G, axis=2)
            for s, o in zip(shared, own, strict=True)
        )  # [1,N+S,A,E]
        scores = jnp.einsum("ae,sae->as", queries[b, r], k[0])
        scores += jnp.concatenate([jnp.zeros(N), bias[0, 0, 0]])[None]
        return jnp.einsum("as,sae->ae", jax.nn.softmax(scores), v[0])

    expected = jnp.stack([jnp.stack([plain(b, r) for r in range(R)]) for b in range(B)])
    np.testing.assert_allclose(got, expected, atol=2e-6)


@LAYOUTS
def test_a_zero_key_with_score_ln_t_is_t_zero_keys(layout):
    queries, values = normal(0, 1, 1, A, E), normal(1, 1, 3, A, E)
    key, value = normal(2, 1, 1, A, E), normal(3, 1, 1, A, E)
    keys = jnp.concatenate([jnp.zeros((1, 3, A, E)), key], 1).transpose(0, 2, 1, 3)
    all_values = jnp.concatenate([values, value], 1).transpose(0, 2, 1, 3)
    expected = attend(queries.transpose(0, 2, 1, 3), keys, all_values)[:, :, 0][:, None]
    own = KeysValues(
        layout.store(jnp.concatenate([jnp.zeros((1, 1, A, E)), key], 1)),
        layout.store(jnp.concatenate([values.mean(1, keepdims=True), value], 1)),
    )
    bias = jnp.array([jnp.log(3.0), 0.0])[None, None, None]
    np.testing.assert_allclose(
        decode_attention(layout, queries, own, bias, []), expected, atol=1e-6
    )


@LAYOUTS
def test_a_cache_grows_and_is_written_in_place_of_zeros(layout):
    old, new = normal(0, B, 2, G, E), normal(1, B, 1, G, E)
    cache = layout.grow(layout.store(old), 5)
    assert layout.length(cache) == 5
    written = layout.write(cache, new, jnp.int32(3))
    zeros = jnp.zeros((B, 1, G, E))
    np.testing.assert_array_equal(
        written, layout.store(jnp.concatenate([old, zeros, new, zeros], 1))
    )
