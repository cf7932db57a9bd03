import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from jaxedit.nn import attend as kernels
from jaxedit.nn.attend import attend, attend_block_causal, attend_by_blocks, attend_causal
from jaxedit.ops import masks

DOCUMENTS = (70, 1, 4, 16, 80)  # long ones alone, short ones together


def random_qkv(length: int, rows: int = 2, heads: int = 3, width: int = 8):
    return jax.random.normal(jax.random.key(0), (3, rows, heads, length, width))


def test_attention_by_hand():
    q = jnp.array([0.0, math.log(3.0)]).reshape(1, 1, 1, 2)
    k = jnp.array([[1.0, 0.0], [0.0, 1.0]])[None, None]
    v = jnp.array([[4.0], [8.0]])[None, None]
    np.testing.assert_allclose(attend(q, k, v)[0, 0, 0], [7.0], rtol=1e-6)  # 1/4, 3/4


def test_masked_keys_do_not_matter_and_an_empty_mask_is_finite():
    q, k, v = random_qkv(4)
    mask = jnp.array([True, True, False, False])[None, None, None]
    expected = attend(q, k[:, :, :2], v[:, :, :2])
    np.testing.assert_allclose(attend(q, k, v, mask), expected, atol=1e-6)
    assert np.isfinite(attend(q, k, v, jnp.zeros_like(mask))).all()


def test_softmax_is_f32_in_bf16():
    q, k, v = random_qkv(64).astype(jnp.bfloat16)
    out = attend(q, k, v)
    exact = attend(*(x.astype(jnp.float32) for x in (q, k, v)))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.02)


def test_block_causal_equals_dense_mask():
    q, k, v = random_qkv(sum(DOCUMENTS))
    dense = attend(q, k, v, jnp.asarray(masks.block_causal(DOCUMENTS))[None, None])
    np.testing.assert_allclose(attend_block_causal(q, k, v, DOCUMENTS), dense, atol=1e-6)


@pytest.mark.parametrize("length", [1, 300])
def test_causal_equals_dense_mask(length):
    q, k, v = random_qkv(length)
    dense = attend(q, k, v, jnp.tril(jnp.ones((length, length), bool))[None, None])
    np.testing.assert_allclose(jax.jit(attend_causal)(q, k, v), dense, atol=1e-5)


def test_hidden_keys_are_seen_by_themselves_only():
    q, k, v = random_qkv(40, rows=1)
    visible = jnp.arange(40)[None] >= 7
    call = jax.jit(attend_causal)
    out = call(q, k, v, visible)
    np.testing.assert_allclose(out[:, :, :8], v[:, :, :8], atol=1e-5)
    alone = call(q[:, :, 7:], k[:, :, 7:], v[:, :, 7:])
    np.testing.assert_allclose(out[:, :, 7:], alone, atol=1e-5)


def gradients(function, qkv):
    return jax.jit(jax.grad(lambda qkv: (function(*qkv) ** 2).sum()))(qkv)


@pytest.mark.parametrize("mask", [None, "row", "square"])
def test_blocks_of_queries_equal_all_at_once(mask):
    qkv, visible = random_qkv(50), jnp.arange(50)[None] >= jnp.array([[3], [20]])
    if mask is not None:
        mask = visible[:, None, None]
        mask = jnp.tril(mask | jnp.eye(50, dtype=bool)) if mask == "square" else mask
    blocks = gradients(lambda *x: attend_by_blocks(*x, mask, blocks=4), qkv)
    np.testing.assert_allclose(blocks, gradients(lambda *x: attend(*x, mask), qkv), atol=2e-5)


def test_long_sequences_keep_no_scores(monkeypatch):
    monkeypatch.setattr(kernels, "MAX_SCORES", 1000)
    qkv = random_qkv(100, rows=1, heads=1)
    for function in (attend, attend_causal, lambda *x: attend_block_causal(*x, (30, 1, 69))):
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
    for function in (attend_causal, lambda *x: attend_block_causal(*x, (1, 63, 960))):
        gradient = jax.jit(jax.grad(lambda x: function(*x).astype(jnp.float32).sum()))  # noqa: B023
        text = gradient.trace(qkv).lower(lowering_platforms=("cuda",)).as_text()
        assert "cudnn$fmhaSoftmaxBackward" in text
        assert not re.search(r"1024x1024x|960x1024x", text)


def test_kernels_are_for_long_sequences_of_the_right_type(monkeypatch):
    q, k, _ = random_qkv(1024, rows=1, heads=1, width=64)
    half = q.astype(jnp.bfloat16)
    assert not kernels._takes_splash(q, k) and not kernels._takes_cudnn(half, k)
    assert kernels.kernel_length(2167, 64) == 2167
    monkeypatch.setattr(kernels, "device_kind", lambda: "TPU v5 lite")
    assert kernels._takes_splash(q, k) and not kernels._takes_splash(q[:, :, :200], k)
    lengths = {
        (2167, 64): 2304,
        (3545, 128): 3584,
        (2304, 64): 2304,
        (2167, 40): 2167,
        (85, 64): 85,
    }
    assert {key: kernels.kernel_length(*key) for key in lengths} == lengths
    monkeypatch.setattr(kernels, "device_kind", lambda: "NVIDIA A100-SXM4-80GB")
    assert kernels._takes_cudnn(half, k) and not kernels._takes_cudnn(q, k)
    monkeypatch.setattr(kernels, "device_kind", lambda: "Tesla T4")
    assert not kernels._takes_cudnn(half, k)
