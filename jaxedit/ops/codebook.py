"""Vector quantisation: lookup of the nearest code, and k-means to initialise a codebook.

With `unit_norm`, latents and codes are scaled to unit length before they are compared or decoded.
Axis letters: c channels of a code, V codes, N points.

Source: van den Oord et al. 2017 (VQ-VAE); Yu et al. 2022 (ViT-VQGAN), section 3.2, for unit
vectors; Sun et al. 2024 (LlamaGen) and its released code.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32, Int, Int32, Key

from jaxedit.ops.quantize import normalize


def maybe_normalize(vectors: Float[ArrayLike, "*n c"], unit_norm: bool) -> Float[Array, "*n c"]:
    """Scale vectors to unit length if `unit_norm`, else return them unchanged."""
    return normalize(vectors) if unit_norm else vectors


def nearest_code(
    z: Float[ArrayLike, "*n c"], codebook: Float[ArrayLike, "V c"], unit_norm: bool
) -> Int32[Array, "*n"]:
    """Return the index of the code nearest to each latent, by Euclidean distance.

    Of several codes at the same distance, the lowest index is returned.
    """
    z, codes = maybe_normalize(z, unit_norm), maybe_normalize(codebook, unit_norm)
    # |z - c|^2 = |z|^2 - 2 z.c + |c|^2; |z|^2 is equal for all codes and left out.
    products = jnp.einsum("...c,vc->...v", z, codes, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.sum(codes * codes, axis=-1).reshape((1,) * (z.ndim - 1) + (-1,))
    return jnp.argmin(squares - 2 * products, axis=-1).astype(jnp.int32)


def look_up(
    codebook: Float[ArrayLike, "V c"], codes: Int[ArrayLike, "*n"], unit_norm: bool
) -> Float[Array, "*n c"]:
    """Return the vector of each code."""
    return maybe_normalize(codebook[codes], unit_norm)


def squared_distance(
    points: Float[ArrayLike, "*#n c"], vectors: Float[ArrayLike, "*#n c"]
) -> Float[Array, "*n"]:
    """Return the squared Euclidean distance between corresponding vectors."""
    return jnp.sum((points - vectors) ** 2, axis=-1)


def kmeans_plus_plus(
    key: Key[Array, ""], points: Float[ArrayLike, "N c"], count: int
) -> Float[Array, "V c"]:
    """Choose `count` = V of the points as initial centres, far from each other.

    Each further centre is drawn with a probability proportional to its squared distance from the
    nearest centre chosen before.

    Source: Arthur and Vassilvitskii 2007 (k-means++), section 2.2.
    """
    first, key = jax.random.split(key)
    start = points[jax.random.randint(first, (), 0, len(points))]

    def add(distance: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        # 1e-20 keeps log finite at the points that are centres already.
        chosen = points[jax.random.categorical(key, jnp.log(distance + 1e-20))]
        return jnp.minimum(distance, squared_distance(points, chosen[None])), chosen

    distance = squared_distance(points, start[None])
    _, others = jax.lax.scan(add, distance, jax.random.split(key, count - 1))
    return jnp.concatenate([start[None], others])


def kmeans(
    points: Float[ArrayLike, "N c"],
    centres: Float[ArrayLike, "V c"],
    *,
    unit_norm: bool,
    iterations: int,
) -> Float[Array, "V c"]:
    """Improve centres by Lloyd's algorithm; a centre without points keeps its position.

    Args:
      unit_norm: scale points and means to unit length (spherical k-means).
      iterations: rounds of assigning and averaging.
    """

    def move(_: jax.Array, centres: jax.Array) -> jax.Array:
        codes = nearest_code(points, centres, unit_norm)
        sums = jax.ops.segment_sum(points, codes, len(centres))
        counts = count_codes(codes, len(centres))[:, None]
        means = maybe_normalize(sums / jnp.maximum(counts, 1), unit_norm)
        return jnp.where(counts > 0, means, centres)

    points = maybe_normalize(points, unit_norm)
    return jax.lax.fori_loop(0, iterations, move, centres)


def count_codes(codes: Int[ArrayLike, "*n"], size: int) -> Float32[Array, " V"]:
    """Count how often each of the `size` = V codes occurs."""
    flat = codes.reshape(-1)
    return jax.ops.segment_sum(jnp.ones(flat.shape, jnp.float32), flat, size)


def perplexity(counts: Float[ArrayLike, " V"]) -> Float[Array, ""]:
    """Return exp(entropy) of the code frequencies: V if all codes are used equally often."""
    p = counts / jnp.sum(counts)
    return jnp.exp(-jnp.sum(p * jnp.log(jnp.maximum(p, 1e-10))))
