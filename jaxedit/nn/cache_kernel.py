"""Attention to a cache of all layers where it lies: a kernel for TPU, without a backward pass.

Other kernels take the keys and values of a layer as one array, so that of a stacked cache and new
tokens they need a joined copy in every layer. This kernel is given the whole cache, the number of
the layer, and the new tokens; it reads only the blocks that hold tokens.

Source: FlashAttention-2 (Dao 2023), algorithm 1.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from jaxedit.nn.kernels import (
    LANES,
    Keys,
    Queries,
    is_on_tpu,
    on_each_device,
    splash_block,
)
from jaxedit.nn.kv_cache import KeysValues, KVCache

MAX_QUERIES = 1024  # up to this length, queries are a single block
ROWS = 16  # a block of few queries is a multiple of this number: a tile of bfloat16
# Keys in a block: few where many queries make a matrix of scores, many where blocks cost time.
KEYS, KEYS_OF_FEW, FEW = 512, 2048, 256
NEVER = -1e30  # score of a key that is not seen; a finite number has no NaN in differences


def cache_attention(
    queries: Queries, new: KeysValues, cache: KVCache, start: int, *, interpret: bool = False
) -> Queries:
    """Attend to the first `start` positions of the cache's current layer, and to all of `new`.

    Args:
      queries: already scaled.
      new: of M tokens.
      cache: of all layers; positions from `start` on are not read, or have no effect.
      start: at least 1 (static).
      interpret: run the kernel where there is no TPU, slowly.
    """
    N, M = queries.shape[2], new.keys.shape[2]
    block = ROWS * math.ceil(N / ROWS) if N <= MAX_QUERIES else splash_block(N)
    attend = functools.partial(
        _attend, start=start, length=M, block=block, is_short=N <= FEW, interpret=interpret
    )
    by_head = ("batch", "heads", None, None)
    axes = [by_head, *[(None, *by_head)] * 2, *[by_head] * 2, (None,)]
    operands = [queries, cache.keys, cache.values, *new, cache.layer[None]]
    return on_each_device(attend, operands, axes)


def cache_length(length: int) -> int:
    """Return the length of a cache for `length` tokens: on TPU a multiple of `LANES`.

    Of a length that fills no tiles the compiler may write heads innermost, which the kernel cannot
    read.
    """
    return LANES * math.ceil(length / LANES) if is_on_tpu() else length


def _attend(
    queries: Queries,
    old_keys: Float[Array, "L B A T E"],
    old_values: Float[Array, "L B A T E"],
    keys: Keys,
    values: Keys,
    layer: Int32[Array, " 1"],
    *,
    start: int,
    length: int,
    block: int,
    is_short: bool,
    interpret: bool,
) -> Queries:
    """Run the kernel over rows, heads, blocks of queries, and blocks of old and of new keys.

    The last block of an array may reach beyond its end: what is there is not seen, or not written.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    B, A, N, E = queries.shape
    most = KEYS_OF_FEW if is_short else KEYS
    old_block, new_block = (
        min(most, LANES * math.ceil(n / LANES)) for n in (old_keys.shape[3], length)
    )
    before = math.ceil(start / old_block)  # blocks of old keys
    rows = pl.BlockSpec((1, 1, block, E), lambda b, a, i, j, layer: (b, a, i, 0))
    old = pl.BlockSpec(
        (1, 1, 1, old_block, E),
        lambda b, a, i, j, layer: (layer[0], b, a, jnp.minimum(j, before - 1), 0),
    )
    added = pl.BlockSpec(
        (1, 1, new_block, E), lambda b, a, i, j, layer: (b, a, jnp.maximum(j - before, 0), 0)
    )
    kernel = functools.partial(_kernel, lengths=(start, length), blocks=(old_block, new_block))
    grid = (B, A, math.ceil(N / block), before + math.ceil(length / new_block))
    call = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(queries.shape, values.dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=grid,
            in_specs=[rows, old, old, added, added],
            out_specs=rows,
            scratch_shapes=[pltpu.VMEM((block, n), jnp.float32) for n in (1, 1, E)],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
    )
    return call(layer, queries, old_keys, old_values, keys, values)


def _kernel(
    layer: Any,
    queries: Any,
    old_keys: Any,
    old_values: Any,
    keys: Any,
    values: Any,
    out: Any,
    *sums: Any,
    lengths: tuple[int, int],
    blocks: tuple[int, int],
) -> None:
    """Add a block of keys to the softmax of a block of queries; after the last, write the mean."""
    from jax.experimental import pallas as pl

    j, before = pl.program_id(3), math.ceil(lengths[0] / blocks[0])
    top, total, mixed = sums

    @pl.when(j == 0)
    def _start() -> None:
        top[...] = jnp.full(top.shape, NEVER, jnp.float32)
        total[...] = jnp.zeros(total.shape, jnp.float32)
        mixed[...] = jnp.zeros(mixed.shape, jnp.float32)

    of_cache = (old_keys.at[0, 0, 0], old_values.at[0, 0, 0])
    of_new = (keys.at[0, 0], values.at[0, 0])
    first = 0
    for refs, length, block in zip((of_cache, of_new), lengths, blocks, strict=True):
        full, rest = divmod(length, block)
        add = functools.partial(_add_block, queries.at[0, 0], *refs, sums)
        if full:
            pl.when((j >= first) & (j < first + full))(functools.partial(add, block))
        if rest:
            pl.when(j == first + full)(functools.partial(add, rest))
        first = before

    @pl.when(j == pl.num_programs(3) - 1)
    def _finish() -> None:
        out[0, 0] = (mixed[...] / total[...]).astype(out.dtype)


def _add_block(queries: Any, keys: Any, values: Any, sums: tuple[Any, Any, Any], n: int) -> None:
    """Add the first `n` keys of a block: update maximum, sum of weights, and weighted values."""
    top, total, mixed = sums
    rows = LANES * math.ceil(n / LANES)
    k, v = keys[:rows], values[:rows]
    scores = jax.lax.dot_general(
        queries[...], k, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    if rows > n:
        seen = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1) < n
        scores = jnp.where(seen, scores, NEVER)
        v = jnp.where(jax.lax.broadcasted_iota(jnp.int32, v.shape, 0) < n, v, 0)
    highest = jnp.maximum(top[...], scores.max(1, keepdims=True))
    weights, shrunk = jnp.exp(scores - highest), jnp.exp(top[...] - highest)
    total[...] = total[...] * shrunk + weights.sum(1, keepdims=True)
    product = jnp.dot(weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    mixed[...] = mixed[...] * shrunk + product
    top[...] = highest
