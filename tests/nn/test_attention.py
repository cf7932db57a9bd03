import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from jaxedit.nn import kernels
from jaxedit.nn.attention import (
    block_causal_attention,
    causal_attention,
    decode_attention,
    dot_product_attention,
)
from jaxedit.nn.kv_cache import ByHead, Flat, KeysValues, SharedSpan
from jaxedit.ops import masks

BLOCKS = (70, 1, 4, 16, 80)  # long ones alone, short ones together


def random_qkv(length: int, rows: int = 2, heads: int = 3, width: int = 8):
    return jax.random.normal(jax.random.key(0), (3, rows, heads, length, width))


def test_attention_by_hand():
    q = jnp.array([0.0, math.log(3.0)]).reshape(1, 1, 1, 2)
    k = jnp.array([[1.0, 0.0], [0.0, 1.0]])[None, None]
    v = jnp.array([[4.0, 0.0], [8.0, 0.0]])[None, None]
    out = dot_product_attention(q, k, v)[0, 0, 0]
    np.testing.assert_allclose(out, [7.0, 0.0], rtol=1e-6)  # weights 1/4 and 3/4


def test_masked_keys_do_not_matter_and_an_empty_mask_is_finite():
    q, k, v = random_qkv(4)
    mask = jnp.array([True, True, False, False])[None, None, None]
    expected = dot_product_attention(q, k[:, :, :2], v[:, :, :2])
    np.testing.assert_allclose(dot_product_attention(q, k, v, mask), expected, atol=1e-6)
    assert np.isfinite(dot_product_attention(q, k, v, jnp.zeros_like(mask))).all()


def test_softmax_is_f32_in_bf16():
    q, k, v = random_qkv(64).astype(jnp.bfloat16)
    out = dot_product_attention(q, k, v)
    exact = dot_product_attention(*(x.astype(jnp.float32) for x in (q, k, v)))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.02)


def test_block_causal_equals_dense_mask():
    q, k, v = random_qkv(sum(BLOCKS))
    dense = dot_product_attention(q, k, v, jnp.asarray(masks.block_causal(BLOCKS))[None, None])
    np.testing.assert_allclose(block_causal_attention(q, k, v, BLOCKS), dense, atol=3e-6)


@pytest.mark.parametrize("length", [1, 300])
def test_causal_equals_dense_mask(length):
    q, k, v = random_qkv(length)
    dense = dot_product_attention(q, k, v, jnp.tril(jnp.ones((length, length), bool))[None, None])
    np.testing.assert_allclose(jax.jit(causal_attention)(q, k, v), dense, atol=1e-5)


def test_hidden_keys_are_seen_by_themselves_only():
    q, k, v = random_qkv(40, rows=1)
    visible = jnp.arange(40)[None] >= 7
    call = jax.jit(causal_attention)
    out = call(q, k, v, visible)
    np.testing.assert_allclose(out[:, :, :8], v[:, :, :8], atol=1e-5)
    alone = call(q[:, :, 7:], k[:, :, 7:], v[:, :, 7:])
    np.testing.assert_allclose(out[:, :, 7:], alone, atol=1e-5)


def test_long_sequences_keep_no_scores(monkeypatch):
    monkeypatch.setattr(kernels, "MAX_SCORES", 1000)
    qkv = random_qkv(100, rows=1, heads=1)
    by_blocks = functools.partial(block_causal_attention, blocks=(30, 1, 69))
    for function in (dot_product_attention, causal_attention, by_blocks):
        program = str(jax.make_jaxpr(jax.grad(lambda x: function(*x).sum()))(qkv))  # noqa: B023
        assert max(map(scores, program.split())) <= 1000 + 200, function


def scores(word: str) -> int:
    """The number of values of f32[1,1,n,m] in a printed program."""
    shape = re.match(r"\w+:f32\[((?:\d+,)*)(\d+),(\d+)\]", word)
    return int(shape[2]) * int(shape[3]) if shape else 0


def test_cards_take_their_own_kernel(monkeypatch):
    """Lowered for a card that is not here: nothing of the size of the scores is left."""
    monkeypatch.setattr(kernels, "device_kind", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    qkv = random_qkv(1024, rows=1, heads=2, width=64).astype(jnp.bfloat16)
    for function in (causal_attention, lambda *x: block_causal_attention(*x, (1, 63, 960))):
        gradient = jax.jit(jax.grad(lambda x: function(*x).astype(jnp.float32).sum()))  # noqa: B023
        text = gradient.trace(qkv).lower(lowering_platforms=("cuda",)).as_text()
        assert "cudnn$fmhaSoftmaxBackward" in text
        assert not re.search(r"1024x1024x|960x1024x", text)


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
    spans = [SharedSpan(store(picture), 2), SharedSpan(store(null), 1)]
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
    expected = dot_product_attention(queries.transpose(0, 2, 1, 3), keys, all_values)
    expected = expected.transpose(0, 2, 1, 3)  # [B,1,A,E]
    own = KeysValues(
        layout.store(jnp.concatenate([jnp.zeros((1, 1, A, E)), key], 1)),
        layout.store(jnp.concatenate([values.mean(1, keepdims=True), value], 1)),
    )
    bias = jnp.array([jnp.log(3.0), 0.0])[None, None, None]
    np.testing.assert_allclose(
        decode_attention(layout, queries, own, bias, []), expected, atol=1e-6
    )
