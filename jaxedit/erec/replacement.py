"""Direct replacement for bits: while it is decoded, the edit takes what it can from the source.

Three forms are compared, none of which needs a mask: tokens on which both paths agree, as in ERec's
own ablation; bits whose probability hardly differs; and noise from which the source would have been
drawn.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32

from jaxedit.ops.divergence import bits_jensen_shannon
from jaxedit.sampling.lock import BitLock, Lock, source_bits

LogOdds = Float[Array, "B 2 n Q"]  # of both paths' bits being 1
Uniforms = tuple[Float32[Array, "B _ Q"], ...]  # of every scale


def replacing(
    source: Float[Array, "B H W d"],
    uniforms: Uniforms | None,
    tau: Float32[Array, ""],
    what: str,
    given: BitLock | None,
) -> Lock:
    """Return the lock of direct replacement.

    Args:
      source: features of the source images, before quantisation.
      uniforms: of the edit; None: greedy.
      tau: see `ERecConfig.tau_replace`.
      what: see `ScaleERecConfig.replacement`.
      given: the lock of a given mask, or None.
    """
    if what == "tokens":
        return Replacement(source, tau, given)
    return SourcePath(source, uniforms, tau if what == "bits" else None, given)


class Replacement(NamedTuple):
    """The lock of direct replacement: the edit takes the source's bits where the paths agree.

    Attributes:
      source: features of the source images, before quantisation.
      tau: threshold of the divergence, in bits.
      given: the lock of a given mask, or None.
    """

    source: Float[Array, "B H W d"]
    tau: Float32[Array, ""]
    given: BitLock | None

    def keep(
        self,
        bits: Bool[Array, "B 2 n Q"],
        feature: Float[Array, "B 2 H W d"],
        record: LogOdds,
        scale: int,
        size: tuple[int, int],
        patchify: bool,
    ) -> Bool[Array, "B 2 n Q"]:
        """See `BitLock.keep`; the reconstruction's bits are replaced by a given mask alone."""
        if self.given is not None:
            bits = self.given.keep(bits, feature, record, scale, size, patchify)
        own = source_bits(self.source, feature, size, patchify)
        is_replaced = bits_jensen_shannon(record[:, 0], record[:, 1]) < self.tau  # [B,n]
        return bits.at[:, 1].set(jnp.where(is_replaced[..., None], own[:, 1], bits[:, 1]))


class SourcePath(NamedTuple):
    """The lock of an ablation whose first path is the source itself, bit by bit.

    Either the edit keeps the source's bits whose probability hardly differs between the paths, or
    its noise is inverted: drawn from the uniform numbers that make the first path choose the
    source's bits. Both are published as training-free editing.

    Attributes:
      source: features of the source images, before quantisation.
      uniforms: of the edit; None: greedy.
      tau: difference of probabilities below which a bit is the source's; None: inverted noise.
      given: the lock of a given mask, or None.

    Source: AREdit (arXiv 2503.23897); VARIN (arXiv 2509.01984); carried over to bits by us.
    """

    source: Float[Array, "B H W d"]
    uniforms: Uniforms | None
    tau: Float32[Array, ""] | None
    given: BitLock | None

    def keep(
        self,
        bits: Bool[Array, "B 2 n Q"],
        feature: Float[Array, "B 2 H W d"],
        record: LogOdds,
        scale: int,
        size: tuple[int, int],
        patchify: bool,
    ) -> Bool[Array, "B 2 n Q"]:
        """See `BitLock.keep`."""
        own = source_bits(self.source, feature, size, patchify)
        p = jax.nn.sigmoid(record)
        if self.tau is None:
            u = 0.5 if self.uniforms is None else self.uniforms[scale]
            edit = invert_noise(u, p[:, 0], own[:, 0]) < p[:, 1]
        else:
            edit = jnp.where(jnp.abs(p[:, 1] - p[:, 0]) < self.tau, own[:, 1], bits[:, 1])
        bits = jnp.stack([own[:, 0], edit], axis=1)
        if self.given is None:
            return bits
        return self.given.keep(bits, feature, record, scale, size, patchify)


def invert_noise(
    u: Float[ArrayLike, "*#n"], p: Float[Array, "*n"], bit: Bool[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return uniform numbers, given that a bit of probability p, which is 1 below p, was `bit`.

    Args:
      u: uniform numbers in [0, 1).
      p: probability of a 1.
      bit: what was drawn.
    """
    return jnp.where(bit, u * p, p + u * (1 - p))
