"""Kernels of softmax attention: splash on TPU, cuDNN on NVIDIA cards, XLA in blocks or at once.

The scores of all queries and keys are the largest arrays of a long sequence. Of these kernels only
`dense_attention` holds all scores in memory together.

Source: `jax.experimental.pallas.ops.tpu.splash_attention`, which skips blocks that no query sees.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxedit.sharding.mesh import device_kind
from jaxedit.sharding.rules import activation_spec

Queries = Float[Array, "B A N E"]  # already scaled
Keys = Float[Array, "B A S E"]  # keys or values
Mask = Bool[ArrayLike, "#B #A #N #S"]  # True where a query sees a key

# Number of scores of a head that may be in memory together; number from which a kernel is called.
MAX_SCORES, KERNEL_SCORES = 2**19, 2**18
SPLASH_BLOCKS = (512, 384)  # lengths of a block of the splash kernel to choose from
WHOLE_BLOCK = 896  # a sequence up to this length may be a single block
LANES = 128  # lengths are padded to a multiple of this number


def takes_splash(queries: Queries, keys: Keys) -> bool:
    """Return whether the splash kernel is used for these arrays."""
    N, E = queries.shape[2:]
    return is_on_tpu() and _is_long(N, keys.shape[2], E, 64)


def takes_cudnn(queries: Queries, keys: Keys) -> bool:
    """Return whether cuDNN is used for these arrays.

    cuDNN needs half precision, and Ampere or later; older cards do not have NVIDIA in their names.
    """
    N, E = queries.shape[2:]
    is_half = queries.dtype in (jnp.bfloat16, jnp.float16)
    fits = is_half and E <= 128 and _is_long(N, keys.shape[2], E, 8)
    return fits and device_kind().startswith("NVIDIA")


def kernel_length(length: int, head_width: int) -> int:
    """Return the length to which the kernel pads a sequence that attends to itself.

    A sequence that is padded to this length before the first layer is not copied in each layer.
    """
    if is_on_tpu() and _is_long(length, length, head_width, 64):
        return _padded_length(length)
    return length


def dense_attention(queries: Queries, keys: Keys, values: Keys, mask: Mask | None) -> Queries:
    """Attend with all scores in memory, as `attention.dot_product_attention` describes."""
    logits = jnp.einsum("bhne,bhse->bhns", queries, keys, preferred_element_type=jnp.float32)
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum("bhns,bhse->bhne", weights.astype(values.dtype), values)


def blockwise_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    mask: Mask | None = None,
    *,
    blocks: int | None = None,
) -> Queries:
    """Attend from one block of queries after another; the backward pass recomputes each block.

    `blocks` is their number; by default the smallest that keeps each block below `MAX_SCORES`.
    """
    N = queries.shape[2]
    blocks = blocks or math.ceil(N * keys.shape[2] / MAX_SCORES)
    if blocks <= 1:
        return dense_attention(queries, keys, values, mask)
    size = math.ceil(N / blocks)

    def split(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, blocks * size - N), (0, 0)))
        x = x.reshape(*x.shape[:2], blocks, size, x.shape[-1])
        return jnp.moveaxis(x, 2, 0)  # [blocks,B,A,size,...]

    is_shared = mask is None or mask.shape[2] == 1  # all queries have the same mask

    @jax.checkpoint
    def attend_block(queries: jax.Array, rows: jax.Array | None) -> jax.Array:
        return dense_attention(queries, keys, values, mask if is_shared else rows)

    parts = (split(queries), None if is_shared else split(mask))
    _, out = jax.lax.scan(lambda _, part: (None, attend_block(*part)), None, parts)
    out = jnp.moveaxis(out, 0, 2)  # [B,A,blocks,size,E]
    return out.reshape(*out.shape[:2], blocks * size, -1)[:, :, :N]


def cudnn_attention(queries: Queries, keys: Keys, values: Keys, *, is_causal: bool) -> Queries:
    """Attend by cuDNN's flash attention."""
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (queries, keys, values))  # [B,S,A,E]
    out = jax.nn.dot_product_attention(
        q, k, v, scale=1.0, is_causal=is_causal, implementation="cudnn"
    )
    return out.transpose(0, 2, 1, 3)


def splash_attention(
    queries: Queries,
    keys: Keys,
    values: Keys,
    ends: Int[np.ndarray, " N"],
    visible: Bool[Array, "B S"] | None = None,
    *,
    see_themselves: bool = False,
    interpret: bool = False,
) -> Queries:
    """Attend by the splash kernel, from each query to the keys before its end.

    Args:
      queries: already scaled.
      keys: of the S tokens.
      values: of the S tokens.
      ends: number of keys that each query sees, counted from the first; static.
      visible: keys that queries may see; None: all.
      see_themselves: query n sees key n even if it is not visible (N = S, ends[n] = n + 1).
      interpret: run the kernel where there is no TPU, slowly.
    """
    N = queries.shape[2]
    lengths = N, keys.shape[2]
    blocks, padded = tuple(map(splash_block, lengths)), tuple(map(_padded_length, lengths))
    ends = np.pad(ends, (0, padded[0] - N), mode="edge")
    operands = [pad_length(queries, padded[0]), *(pad_length(x, padded[1]) for x in (keys, values))]
    axes = [("batch", "heads", None, None)] * 3
    if visible is not None:
        segments = _segments(visible, N, see_themselves)
        operands += [pad_length(x, n) for x, n in zip(segments, padded, strict=True)]
        axes += [("batch", None)] * 2
    attend = functools.partial(_attend, ends=ends, blocks=blocks, interpret=interpret)
    out = on_each_device(attend, operands, axes)
    return out[:, :, :N].astype(values.dtype)


def splash_block(length: int) -> int:
    """Return the length of a block that pads a sequence least."""
    whole = _whole_lanes(length)
    if whole <= min(SPLASH_BLOCKS):
        return whole
    blocks = (*SPLASH_BLOCKS, whole) if whole <= WHOLE_BLOCK else SPLASH_BLOCKS
    return min(blocks, key=lambda block: block * math.ceil(length / block))


def _whole_lanes(length: int) -> int:
    return LANES * math.ceil(length / LANES)


def _padded_length(length: int) -> int:
    block = splash_block(length)
    return block * math.ceil(length / block)


def _segments(
    visible: jax.Array, queries: int, see_themselves: bool
) -> tuple[jax.Array, jax.Array]:
    """Return numbers i32[B,N] and i32[B,S] that are equal where a query may see a key."""
    B, S = visible.shape
    keys = jnp.where(visible, 0, jnp.arange(1, S + 1)[None])
    return (keys if see_themselves else jnp.zeros((B, queries), jnp.int32)), keys


def on_each_device(
    function: Callable[..., jax.Array],
    operands: list[jax.Array],
    axes: list[tuple[str | None, ...]],
) -> jax.Array:
    """Call `function` with each device's rows and heads: the compiler cannot cut a kernel."""
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
    """Run the kernel row by row; all lengths are multiples of their block."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    q, kv = blocks
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
        masks.MultiHeadMask([prefix] * queries.shape[1]),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    if not segments:
        return jax.vmap(attend)(queries, keys, values)
    return jax.vmap(attend)(queries, keys, values, kernel.SegmentIds(*segments))


def _prefix_mask(base: type, ends: np.ndarray, keys: int) -> Any:
    """Return the mask in which query n sees the first ends[n] keys; the kernel computes it."""

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


def pad_length(x: jax.Array, length: int) -> jax.Array:
    """Append zeros to the sequence of [B,A,S,E] or [B,S]."""
    axis = 2 if x.ndim == 4 else 1
    return jnp.pad(x, [(0, length - n if i == axis else 0) for i, n in enumerate(x.shape)])


def is_on_tpu() -> bool:
    """Return whether the program being traced will run on a TPU."""
    return device_kind().startswith("TPU")


def _is_long(queries: int, keys: int, head_width: int, multiple: int) -> bool:
    """Return whether a kernel for head widths that are multiples of `multiple` is worth a call."""
    return queries * keys >= KERNEL_SCORES and head_width % multiple == 0
