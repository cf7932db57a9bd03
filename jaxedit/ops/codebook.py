"""Vector quantisation: the nearest of a set of learnt codes, and k-means to start them.

With `unit_norm` latents and codes are compared, and decoded, as unit vectors.

Source: van den Oord et al. 2017 (VQ-VAE); Yu et al. 2022 (ViT-VQGAN), section 3.2, for unit
vectors; Sun et al. 2024 (LlamaGen) and its released code.
"""

import jax
import jax.numpy as jnp

from jaxedit.ops.quantize import normalize


def as_compared(vectors: jax.Array, unit_norm: bool) -> jax.Array:
    """Latents or codes f32[...,c] as they are compared: unit vectors, or as they are."""
    return normalize(vectors) if unit_norm else vectors


def nearest_code(z: jax.Array, codebook: jax.Array, unit_norm: bool) -> jax.Array:
    """The code at the smallest Euclidean distance; the first one of equals.

    Args:
      z: f32[...,c], latents.
      codebook: f32[V,c].
      unit_norm: compare unit vectors.

    Returns:
      i32[...].
    """
    z, codes = as_compared(z, unit_norm), as_compared(codebook, unit_norm)
    products = jnp.einsum("...c,vc->...v", z, codes, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.sum(codes * codes, axis=-1).reshape((1,) * (z.ndim - 1) + (-1,))
    return jnp.argmin(squares - 2 * products, axis=-1).astype(jnp.int32)


def look_up(codebook: jax.Array, codes: jax.Array, unit_norm: bool) -> jax.Array:
    """The vectors f32[...,c] of codes i32[...] in a codebook f32[V,c]."""
    return as_compared(codebook[codes], unit_norm)


def squared_distance(points: jax.Array, vectors: jax.Array) -> jax.Array:
    """f32[...] between f32[...,c] and f32[...,c]."""
    return jnp.sum((points - vectors) ** 2, axis=-1)


def spread(key: jax.Array, points: jax.Array, count: int) -> jax.Array:
    """Points far from each other: each is drawn with the squared distance to those before it.

    Args:
      key: key[].
      points: f32[n,c], as they are compared.
      count: V.

    Returns:
      f32[V,c], rows of `points`.

    Source: Arthur and Vassilvitskii 2007 (k-means++), section 2.2.
    """
    first, key = jax.random.split(key)
    start = points[jax.random.randint(first, (), 0, len(points))]

    def add(distance: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen = points[jax.random.categorical(key, jnp.log(distance + 1e-20))]
        return jnp.minimum(distance, squared_distance(points, chosen[None])), chosen

    distance = squared_distance(points, start[None])
    _, others = jax.lax.scan(add, distance, jax.random.split(key, count - 1))
    return jnp.concatenate([start[None], others])


def kmeans(points: jax.Array, centres: jax.Array, *, unit_norm: bool, iterations: int) -> jax.Array:
    """Lloyd's algorithm from given centres; a centre without points stays where it is.

    Args:
      points: f32[n,c].
      centres: f32[V,c].
      unit_norm: centres are means scaled to unit length.
      iterations: rounds of assigning and averaging.

    Returns:
      f32[V,c].
    """

    def move(_: int, centres: jax.Array) -> jax.Array:
        codes = nearest_code(points, centres, unit_norm)
        sums = jax.ops.segment_sum(points, codes, len(centres))
        counts = count_codes(codes, len(centres))[:, None]
        means = as_compared(sums / jnp.maximum(counts, 1), unit_norm)
        return jnp.where(counts > 0, means, centres)

    points = as_compared(points, unit_norm)
    return jax.lax.fori_loop(0, iterations, move, centres)


def count_codes(codes: jax.Array, size: int) -> jax.Array:
    """How often each of `size` codes occurs in i32[...]: f32[size]."""
    flat = codes.reshape(-1)
    return jax.ops.segment_sum(jnp.ones(flat.shape, jnp.float32), flat, size)


def perplexity(counts: jax.Array) -> jax.Array:
    """exp of the entropy of counts f32[V]: how many codes are used, were they used equally."""
    p = counts / jnp.sum(counts)
    return jnp.exp(-jnp.sum(p * jnp.log(jnp.maximum(p, 1e-10))))
