"""Attention on TPU by Pallas's splash kernel, which skips blocks that nobody sees.

Source: `jax.experimental.pallas.ops.tpu.splash_attention`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.sharding.rules import activation_spec

BLOCKS = (512, 384)  # lengths of a block to choose from
LANES = 128  # lengths are padded to a multiple


def splash(
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
    blocks, padded = tuple(map(block_length, lengths)), tuple(map(padded_length, lengths))
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


def block_length(length: int) -> int:
    """How many queries (or keys) a block has: what pads a sequence of this length least."""
    if length <= min(BLOCKS):
        return LANES * math.ceil(length / LANES)
    return min(BLOCKS, key=lambda block: (block * math.ceil(length / block), -block))


def padded_length(length: int) -> int:
    """The length of a sequence in whole blocks."""
    block = block_length(length)
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
