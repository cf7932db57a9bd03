"""Prefill and decoding on caches against attention over the whole sequence, on random shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import EditARConfig
from jaxedit.models.editar_attention import (
    CausalSequence,
    NextTokens,
    RowCache,
    TextPrefix,
    query_key_table,
)
from jaxedit.nn.kv_cache import ByHead, Flat, KeysValues, SharedSpan
from jaxedit.ops import rope

SHAPES = [  # heads, groups, head width, pictures, rows, side of the grid, text tokens
    (2, 2, 8, 1, 1, 2, 1),
    (4, 2, 4, 2, 3, 2, 5),
    (6, 1, 12, 1, 2, 2, 2),
]


@pytest.mark.parametrize("layout", [ByHead, Flat])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_steps_on_caches_equal_the_whole_sequence(shape, layout):
    A, G, E, B, R, grid, T = shape
    N, M, layout = grid**2, B * R, layout(E)
    config = EditARConfig(width=A * E, heads=A, kv_heads=G, grid=grid, text_tokens=T)
    table = jnp.asarray(rope.sequence_table(config))

    def in_pieces(q, k, v) -> jax.Array:
        """Image, text and tokens on caches: [M,N+T+N,A*E]."""
        image = q[::R, :N], KeysValues(k[::R, :N], v[::R, :N])
        out, picture = CausalSequence(table[:, :N], layout=layout)(*image, None)
        outputs, spans = [jnp.repeat(out, R, axis=0)], [SharedSpan(picture, R)]
        pattern = TextPrefix(jnp.ones((M, T), bool), layout, slots=N + 1, heads=A, rows=R)
        out, cache = pattern(None, KeysValues(None, v[:, N : N + T]), spans)
        outputs.append(out)
        for slot, window in ((1, 1), (2, 1), (3, N - 2)):
            at = slice(N + T + slot - 1, N + T + slot - 1 + window)
            seen = jnp.arange(N + 1)[None] <= slot + jnp.arange(window)[:, None]  # [W,S]
            bias = jnp.where(seen, 0, -jnp.inf).at[:, 0].set(jnp.log(T))
            bias = jnp.tile(bias[None, :, None], (M, 1, 1, 1))
            angles = jnp.tile(table[:, at], (1, M if window > 1 else 1, 1))
            angles, first = query_key_table(angles, config), jnp.array([slot])
            step = NextTokens(angles, bias, first, layout, R)
            joined, *new = (x[:, at].reshape(1, M * window, -1, E) for x in (q, k, v))
            out, cache = step(joined, KeysValues(*new), RowCache(cache, spans))
            outputs.append(out.reshape(M, window, -1))
        return jnp.concatenate(outputs, axis=1)

    draw = np.random.default_rng(0).standard_normal
    q, k, v = (draw((M, 2 * N + T, heads, E), np.float32) for heads in (A, G, G))
    for x in (q, k, v):  # all rows of a picture read its image
        x[:, :N] = np.repeat(x[::R, :N], R, axis=0)
    whole, kept = jax.jit(lambda q, *new: CausalSequence(table)(q, KeysValues(*new), None))(q, k, v)
    assert kept is None
    np.testing.assert_allclose(jax.jit(in_pieces)(q, k, v), whole, atol=1e-5)


def test_text_that_is_not_visible_sees_itself_only():
    v = jnp.arange(1.0, 4.0).reshape(1, 3, 1, 1)
    visible = jnp.array([[False, True, True]])
    pattern = TextPrefix(visible, ByHead(1), slots=2, heads=1, rows=1)
    out, cache = pattern(None, KeysValues(None, v), [])
    np.testing.assert_allclose(out.ravel(), [1, 2, 2.5])
    np.testing.assert_allclose(cache.values.ravel(), [2.5, 0])  # the mean of what is seen
    assert not cache.keys.any()
