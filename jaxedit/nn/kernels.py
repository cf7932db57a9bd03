"""Kernels of softmax attention: splash on TPU, cuDNN on NVIDIA cards, XLA at once and by blocks.

Scores of all queries and keys at once are the largest arrays of a long sequence. The kernels and
`blockwise_attention` never have them in memory together; `dense_attention` does.

Source: `jax.experimental.pallas.ops.tpu.splash_attention`, which skips blocks that nobody sees.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.sharding.mesh import device_kind
from jaxedit.sharding.rules import activation_spec

# Scores of one head that may be in memory together, and from how many on a kernel is called.
MAX_SCORES, KERNEL_SCORES = 2**19, 2**18
SPLASH_BLOCKS = (512, 384)  # lengths of a block of the splash kernel to choose from
LANES = 128  # lengths are padded to a multiple


def takes_splash(queries: jax.Array, keys: jax.Array) -> bool:
    """Return whether queries [B,A,N,E] and keys [B,A,S,E] go to the splash kernel."""
    N, E = queries.shape[2:]
    return _is_on_tpu() and _is_long(N, keys.shape[2], E, 64)


def takes_cudnn(queries: jax.Array, keys: jax.Array) -> bool:
    """Return whether queries [B,A,N,E] and keys [B,A,S,E] go to cuDNN.

    It takes half precision on Ampere or later; older cards do not have NVIDIA in their names.
    """
    N, E = queries.shape[2:]
    is_half = queries.dtype in (jnp.bfloat16, jnp.float16)
    fits = is_half and E <= 128 and _is_long(N, keys.shape[2], E, 8)
    return fits and device_kind().startswith("NVIDIA")


def kernel_length(length: int, head_width: int) -> int:
    """Return the length to which the kernel pads a sequence that attends to itself.

    Padded to this length before all layers, the sequence is not copied in each.
    """
    if _is_on_tpu() and _is_long(length, length, head_width, 64):
        return padded_length(length)
    return length


def dense_attention(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None
) -> jax.Array:
    """Attend with all scores in memory; arguments as of `attention.dot_product_attention`."""
    logits = jnp.einsum("bhne,bhse->bhns", queries, keys, preferred_element_type=jnp.float32)
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum("bhns,bhse->bhne", weights.astype(values.dtype), values)


def blockwise_attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array | None = None,
    *,
    blocks: int | None = None,
) -> jax.Array:
    """Attend one block of queries after the other; the backward pass computes each again.

    Args:
      queries: [B,A,N,E].
      keys: [B,A,S,E].
      values: [B,A,S,E].
      mask: as of `attention.dot_product_attention`.
      blocks: how many; None is as few as keep each below `MAX_SCORES`.
    """
    N = queries.shape[2]
    blocks = blocks or math.ceil(N * keys.shape[2] / MAX_SCORES)
    if blocks <= 1:
        return dense_attention(queries, keys, values, mask)
    size = math.ceil(N / blocks)

    def split(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, blocks * size - N), (0, 0)))
        return jnp.moveaxis(x.reshape(*x.shape[:2], blocks, size, x.shape[-1]), 2, 0)

    is_shared = mask is None or mask.shape[2] == 1  # for all queries

    @jax.checkpoint
    def attend_block(queries: jax.Array, rows: jax.Array | None) -> jax.Array:
        return dense_attention(queries, keys, values, mask if is_shared else rows)

    parts = (split(queries), None if is_shared else split(mask))
    _, out = jax.lax.scan(lambda _, part: (None, attend_block(*part)), None, parts)
    out = jnp.moveaxis(out, 0, 2)  # [B,A,blocks,size,E]
    return out.reshape(*out.shape[:2], blocks * size, -1)[:, :, :N]


def cudnn_attention(
    queries: jax.Array, keys: jax.Array, values: jax.Array, *, is_causal: bool
) -> jax.Array:
    """Attend by cuDNN's flash attention: [B,A,N,E] from [B,A,N,E] and twice [B,A,S,E]."""
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (queries, keys, values))  # [B,S,A,E]
    out = jax.nn.dot_product_attention(
        q, k, v, scale=1.0, is_causal=is_causal, implementation="cudnn"
    )
    return out.transpose(0, 2, 1, 3)


def splash_attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    ends: np.ndarray,
    visible: jax.Array | None = None,
    *,
    see_themselves: bool = False,
    interpret: bool = False,
) -> jax.Array:
    """Softmax attention with logits `q . k`, each query seeing the keys up to its end.

    Args:
      queries: [B,A,N,E], already scaled.
      keys: [B,A,S,E].
      values: [B,A,S,E].
      ends: i64[N], how many keys each query sees, from the first; static.
      visible: bool[B,S], keys that anybody may see; None is all.
      see_themselves: query n sees key n even if it is not visible (N = S, ends[n] = n + 1).
      interpret: run the kernel where there is no TPU, slowly.

    Returns:
      [B,A,N,E] in the dtype of `values`.
    """
    B, _, N, _ = queries.shape
    lengths = N, keys.shape[2]
    blocks, padded = tuple(map(splash_block, lengths)), tuple(map(padded_length, lengths))
    ends = np.pad(ends, (0, padded[0] - N), mode="edge")
    operands = [_pad(queries, padded[0]), _pad(keys, padded[1]), _pad(values, padded[1])]
    axes = [("batch", "heads", None, None)] * 3
    if visible is not None:
        segments = _segments(visible, N, see_themselves)
        operands += [_pad(x, n) for x, n in zip(segments, padded, strict=True)]
        axes += [("batch", None)] * 2
    attend = functools.partial(_attend, ends=ends, blocks=blocks, interpret=interpret)
    out = _on_each_device(attend, operands, axes)
    return out[:, :, :N].astype(values.dtype)


def splash_block(length: int) -> int:
    """How many queries (or keys) a block has: what pads a sequence of this length least."""
    if length <= min(SPLASH_BLOCKS):
        return LANES * math.ceil(length / LANES)
    return min(SPLASH_BLOCKS, key=lambda block: (block * math.ceil(length / block), -block))


def padded_length(length: int) -> int:
    """The length of a sequence in whole blocks."""
    block = splash_block(length)
    return block * math.ceil(length / block)


def _segments(
    visible: jax.Array, queries: int, see_themselves: bool
) -> tuple[jax.Array, jax.Array]:
    """Numbers i32[B,N] and i32[B,S] that are equal where a query may see a key."""
    B, S = visible.shape
    keys = jnp.where(visible, 0, jnp.arange(1, S + 1)[None])
    return (keys if see_themselves else jnp.zeros((B, queries), jnp.int32)), keys


def _on_each_device(
    function: Callable[..., jax.Array],
    operands: list[jax.Array],
    axes: list[tuple[str | None, ...]],
) -> jax.Array:
    """`function` of each device's rows and heads: the compiler cannot cut a kernel by itself."""
    if jax.sharding.get_abstract_mesh().empty:
        return function(*operands)
    specs = [activation_spec(x.shape, a) for x, a in zip(operands, axes, strict=True)]
    call = jax.shard_map(function, in_specs=tuple(specs), out_specs=specs[0], check_vma=False)
    return call(*operands)


def _attend(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *segments: jax.Array,
    ends: np.ndarray,
    blocks: tuple[int, int],
    interpret: bool,
) -> jax.Array:
    """The kernel, row by row; all lengths are multiples of their block."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    heads, q, kv = queries.shape[1], *blocks
    sizes = kernel.BlockSizes(
        block_q=q,
        block_kv=kv,
        block_kv_compute=kv,
        block_q_dkv=q,
        block_kv_dkv=kv,
        block_kv_dkv_compute=kv,
        block_q_dq=q,
        block_kv_dq=kv,
    )
    prefix = _prefix_mask(masks.Mask, ends, keys.shape[2])
    attend = kernel.make_splash_mha(
        masks.MultiHeadMask([prefix] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    if not segments:
        return jax.vmap(attend)(queries, keys, values)
    return jax.vmap(attend)(queries, keys, values, kernel.SegmentIds(*segments))


def _prefix_mask(base: type, ends: np.ndarray, keys: int) -> Any:
    """The mask whose query n sees the first ends[n] keys; the kernel computes it on the way."""

    class Prefix(base):
        shape = (len(ends), keys)
        q_sequence = ends.astype(np.int32)  # the kernel gives it to `mask_function`

        @staticmethod
        def mask_function(ends: Any, keys: Any) -> Any:
            return keys < ends

        def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
            rows, columns = self.q_sequence[index[0]], np.arange(keys)[index[1]]
            return self.mask_function(rows[:, None], columns[None])

    return Prefix()


def _pad(x: jax.Array, length: int) -> jax.Array:
    """Zeros after the last position: of [B,A,S,E] or of [B,S]."""
    axis = 2 if x.ndim == 4 else 1
    return jnp.pad(x, [(0, length - n if i == axis else 0) for i, n in enumerate(x.shape)])


def _is_on_tpu() -> bool:
    return device_kind().startswith("TPU")


def _is_long(queries: int, keys: int, head_width: int, multiple: int) -> bool:
    """Return whether a kernel for head widths that are multiples of a number is worth its call."""
    return queries * keys >= KERNEL_SCORES and head_width % multiple == 0
