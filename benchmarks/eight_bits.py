"""Price of 8-bit activations and 8-bit caches on held-out toybox pairs, and the time of products.

    python benchmarks/eight_bits.py toy-varedit toy-editar --pairs 200
    taskset -c 0 python benchmarks/eight_bits.py          # the products alone, in CPU seconds

The library has neither. Here they are put in its place, to measure what they would cost:

- weights: kernels of 8-bit integers, as `--int8=transformer` makes them; products in float32.
- activations: each row of the other factor is rounded, too, and the product is one of integers.
- int8 caches: keys and values are rounded with a scale for each token and head.
- fp8 caches: keys and values are float8_e4m3fn, without a scale.
"""

import argparse
import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from toy_ablation import score

import jaxedit
from jaxedit.config import DataConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.nn import kernel_product
from jaxedit.nn.kv_cache import ByHead, KeysValues, KVCache
from jaxedit.ops.int8 import LARGEST, Int8, quantize

SHAPES = ((512, 512, 1536), (512, 512, 2048), (512, 2048, 512), (2, 1280, 3840))  # rows, in, out


def main() -> None:
    """Print a table of prices if models are given, otherwise the time of products."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="WEIGHTS")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--level", type=int, default=3, choices=range(len(toybox.LEVELS)))
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    args = parser.parse_args()
    if not args.models:
        return time_products()
    size = toybox.LEVELS[args.level].image_size
    data = DataConfig(level=args.level, image_size=size, seed=args.seed)
    pairs = held_out_pairs(data, args.pairs)
    integers = {"int8": ("transformer",)}
    rounded = functools.partial(mock.patch.object, kernel_product, "product", product_of_integers)
    settings = {
        "as it is": ({}, contextlib.nullcontext),
        "weights": (integers, contextlib.nullcontext),
        "weights and activations": (integers, rounded),
        "int8 caches": ({}, functools.partial(caches_through, through_int8)),
        "fp8 caches": ({}, functools.partial(caches_through, through_fp8)),
    }
    print("| model | 8 bits | success | PSNR |\n|---|---|---|---|")
    for model in args.models:
        for name, (options, change) in settings.items():
            jax.clear_caches()  # the same functions are traced again, with the change
            with change():
                editor = jaxedit.Editor.from_pretrained(model, rows_per_device=50, **options)
                made = editor.edit_batch([p.source for p in pairs], [p.instruction for p in pairs])
            row = score(model, pairs, [np.asarray(edit.image) for edit in made])
            numbers = f"{row['success']:.3f} | {row['PSNR']:.2f}"
            print(f"| {model} | {name} | {numbers} |", flush=True)


def round_rows(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return integers and scales f32[...,1] of the vectors over the last axis."""
    x = x.astype(jnp.float32)
    scale = jnp.max(jnp.abs(x), axis=-1, keepdims=True) / LARGEST
    return jnp.round(x / jnp.where(scale > 0, scale, 1)).astype(jnp.int8), scale


def through_int8(x: jax.Array) -> jax.Array:
    """Return what is left of `x` after `round_rows`."""
    integers, scale = round_rows(x)
    return (integers * scale).astype(x.dtype)


def through_fp8(x: jax.Array) -> jax.Array:
    """Return what is left of `x` as float8."""
    return x.astype(jnp.float8_e4m3fn).astype(x.dtype)


def product_of_integers(x: jax.Array, kernel: Int8, *, precision: Any = None) -> jax.Array:
    """Multiply as `int8.product`, after rounding the rows of `x`."""
    rows, scale = round_rows(x.reshape(-1, x.shape[-1]))
    out = jnp.matmul(rows, kernel.values, preferred_element_type=jnp.int32)
    return (out * scale * kernel.scale).reshape(*x.shape[:-1], -1)


@contextlib.contextmanager
def caches_through(change: Callable[[jax.Array], jax.Array]):
    """Apply `change` to all keys and values that are put into caches."""
    store, write = ByHead.store, KVCache.write
    changed_store = mock.patch.object(ByHead, "store", lambda self, x: change(store(self, x)))
    changed_write = mock.patch.object(
        KVCache, "write", lambda self, new, at: write(self, KeysValues(*map(change, new)), at)
    )
    with changed_store, changed_write:
        yield


def time_products() -> None:
    """Print the time of products in float32 and of integers, in CPU ms."""
    print("| rows, in, out | float32 | weights | activations |\n|---|---|---|---|")
    for rows, width, out in SHAPES:
        draw = np.random.default_rng(0)
        x = jnp.asarray(draw.standard_normal((rows, width), np.float32))
        kernel = jnp.asarray(draw.standard_normal((width, out), np.float32))
        integers = quantize(kernel)
        found = (
            milliseconds(jnp.matmul, x, kernel),
            milliseconds(kernel_product.product, x, integers),
            milliseconds(product_of_integers, x, integers),
        )
        print(f"| {rows}, {width}, {out} | " + " | ".join(f"{t:.2f}" for t in found) + " |")


def milliseconds(function: Callable[..., jax.Array], *arguments: Any) -> float:
    """Return the least CPU time of several calls, after the first."""
    compiled, times = jax.jit(function).lower(*arguments).compile(), []
    for _ in range(8):
        start = time.process_time()
        jax.block_until_ready(compiled(*arguments))
        times.append(1e3 * (time.process_time() - start))
    return min(times[1:])


if __name__ == "__main__":
    main()
