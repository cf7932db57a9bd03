"""The number of labels that change where the image tokenizer's convolutions are not of float32.

    python benchmarks/label_precision.py --pictures=256

The bundled tokenizers read toybox pictures three times: with products of float32
(--config.label_precision=highest), and with what devices make of `high`: TPUs split each number
into two bfloat16 and add three products, NVIDIA cards round it to TF32. Both are emulated here.

Measured: three products change none of 348,160 bits and none of 16,384 codes; TF32 changes 35 bits
(1e-4) and 24 codes (1.5e-3).
"""

import argparse
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.checkpoints.pretrained import open_params
from jaxedit.data.toybox.toy_pairs import make
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import quantize

CONVOLVE = jax.lax.conv_general_dilated


def three_products(x: jax.Array, kernel: jax.Array, *args: Any, **options: Any) -> jax.Array:
    """A convolution of two bfloat16 each, without the product of the small parts."""
    (x, x_rest), (kernel, kernel_rest) = halves(x), halves(kernel)
    pairs = ((x, kernel), (x, kernel_rest), (x_rest, kernel))
    return sum(CONVOLVE(*pair, *args, **options) for pair in pairs)


def halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`x` rounded to bfloat16 and what is missing, rounded too; both as float32."""
    first = x.astype(jnp.bfloat16).astype(jnp.float32)
    return first, (x - first).astype(jnp.bfloat16).astype(jnp.float32)


def tf32(x: jax.Array, kernel: jax.Array, *args: Any, **options: Any) -> jax.Array:
    """A convolution of numbers of 10 bits behind the point."""

    def rounded(x: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(x, jnp.int32)
        return jax.lax.bitcast_convert_type((bits + 0x1000) & ~0x1FFF, jnp.float32)

    return CONVOLVE(rounded(x), rounded(kernel), *args, **options)


def bits(pixels: jax.Array) -> np.ndarray:
    """Labels of `toy-varedit`."""
    config, params, _ = open_params("toy-varedit")
    variables = {"params": jax.tree.map(jnp.asarray, params["bsq"])}
    raw = BSQTokenizer(config.bsq).apply(variables, pixels, method="encode")
    scales, patchify = config.varedit.latent_scales, config.varedit.patchify
    return np.asarray(quantize.encode_labels(raw, scales, patchify=patchify, flip=None).bits)


def codes(pixels: jax.Array) -> np.ndarray:
    """Labels of `toy-editar`."""
    config, params, _ = open_params("toy-editar")
    variables = {"params": jax.tree.map(jnp.asarray, params["vq"])}
    return np.asarray(VQTokenizer(config.vq).apply(variables, pixels, method="codes"))


def labels(kind: Callable, convolve: Callable, pixels: jax.Array) -> np.ndarray:
    """The labels with another convolution."""
    with mock.patch("flax.linen.linear.lax.conv_general_dilated", convolve):
        return kind(pixels)


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=256)
    args = parser.parse_args()
    pictures = np.stack([make(0, index, 1).source for index in range(args.pictures)])
    pixels = jnp.asarray(pictures, jnp.float32) / 127.5 - 1
    for kind in (bits, codes):
        exact = labels(kind, CONVOLVE, pixels)
        for convolve in (three_products, tf32):
            changed = int((labels(kind, convolve, pixels) != exact).sum())
            share = changed / exact.size
            print(f"{convolve.__name__}: {changed} of {exact.size} {kind.__name__} ({share:.1e})")


if __name__ == "__main__":
    main()
