"""Training of the vector-quantised image tokenizer: pixels through the codebook, and back."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, Key, UInt8

from jaxedit.config import TrainConfig, require
from jaxedit.data.batch import EditBatch
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import codebook as ops
from jaxedit.ops.image import to_float, to_uint8
from jaxedit.sharding.rules import to_host
from jaxedit.train.losses import mean_of_rows
from jaxedit.train.objectives.objective import Metrics
from jaxedit.train.objectives.reconstruction import TokenizerObjective, valid_pictures
from jaxedit.tree import Tree

_KMEANS_ROUNDS = 10  # per batch


class Quantized(NamedTuple):
    """Latents and their codes.

    Attributes:
      z: latents as they are compared with the codes.
      codes: index of each latent's code.
      passed: the codes' vectors, with the gradient of `z` (straight-through).
      commit: mean squared distance of latents and codes, with the gradient of the latents.
      codebook: the same value, with the gradient of the codes.
    """

    z: Float[Array, "B h w c"]
    codes: Int32[Array, "B h w"]
    passed: Float[Array, "B h w c"]
    commit: Float[Array, ""]
    codebook: Float[Array, ""]


class VQObjective(TokenizerObjective):
    """Trains {"vq": ..., "usage": ...} and, with a GAN, {"discriminator": ...}.

    "usage" holds `idle` f32[V], the number of steps since each code was last used. The loss does
    not read it. `after_update` counts it, initialises the codes and restarts dead codes.
    """

    NAME: ClassVar[str] = "vq"
    columns = ("source", "reconstruction", "target", "reconstruction")

    def __init__(self, config: TrainConfig) -> None:
        """Check the settings; see `TokenizerObjective`.

        Raises:
          ConfigError: the pictures do not fit the tokenizer, or a setting is out of range.
        """
        size, stride = config.data.image_size, config.model.vq.stride
        require(
            size % stride == 0,
            f"data.image_size={size}: expected a multiple of {stride}, the tokenizer's stride",
        )
        for name in ("kmeans_batches", "restart_after"):
            value = getattr(config.vq, name)
            require(value >= 0, f"vq.{name}={value}: expected 0 or more")
        super().__init__(config, VQTokenizer)
        # Codes that were loaded are kept.
        self.kmeans_batches = 0 if config.init_from else self.settings.kmeans_batches

    def init(self, key: Key[Array, ""]) -> Tree:
        """See `Objective`."""
        return super().init(key) | {"usage": {"idle": jnp.zeros(self.model.codes)}}

    def _autoencode(
        self, params: Tree, batch: EditBatch, pixels: Array, key: Array, is_training: bool
    ) -> tuple[Array, list[Array], Metrics]:
        output, quantized = self._reconstruct(params["vq"], pixels, valid_pictures(batch))
        terms = [quantized.codebook + self.settings.commit_weight * quantized.commit]
        metrics = {
            "commit": quantized.commit,
            # rows, for `after_update`
            "latents": jax.lax.stop_gradient(quantized.z).reshape(-1, self.model.code_width),
            "codes": quantized.codes.reshape(-1),
        }
        if batch.mask is not None:
            metrics["drift"] = drift(quantized.z, batch.mask, batch.valid)
            terms.append(self.settings.drift_weight * metrics["drift"])
        return output, terms, metrics

    def after_update(
        self,
        params: Tree,
        average: Tree,
        metrics: Metrics,
        key: Key[Array, ""],
        step: Int[Array, ""],
    ) -> tuple[Tree, Tree, Metrics]:
        """Count how often codes are used; initialise them by k-means, and restart dead codes.

        In each of the first `kmeans_batches` steps, k-means moves the codes on from their last
        positions; in step 0 it starts from latents far from each other. Dead codes restart at
        latents far from their own codes: at uniformly drawn latents, codes would crowd where
        latents are dense. The moving average gets the same vectors as the parameters.
        """
        cfg, metrics = self.settings, dict(metrics)
        latents, codes = metrics.pop("latents"), metrics.pop("codes")
        counts = ops.count_codes(codes, self.model.codes)
        idle = jnp.where(counts > 0, 0, params["usage"]["idle"] + 1)
        codebook = params["vq"]["codebook"]
        norm = self.model.unit_norm
        distance = ops.squared_distance(latents, ops.look_up(codebook, codes, norm))
        drawn = draw_latents(key, latents, distance, self.model.codes)
        is_start = step < self.kmeans_batches
        is_dead = (idle >= cfg.restart_after) & (cfg.restart_after > 0) & ~is_start

        def cluster() -> jax.Array:
            apart = ops.kmeans_plus_plus(key, latents, self.model.codes)
            centres = jnp.where(step == 0, apart, codebook)
            return ops.kmeans(latents, centres, unit_norm=norm, iterations=_KMEANS_ROUNDS)

        fresh = jax.lax.cond(is_start, cluster, lambda: drawn)
        is_new = is_start | is_dead
        usage = {"idle": jnp.where(is_new, 0, idle)}

        def renew(params: Tree) -> Tree:
            codes = jnp.where(is_new[:, None], fresh, params["vq"]["codebook"])
            return params | {"vq": params["vq"] | {"codebook": codes}, "usage": usage}

        metrics |= {
            "codes_used": jnp.sum(counts > 0, dtype=jnp.float32),
            "perplexity": ops.perplexity(counts),
            "restarted": jnp.sum(is_dead, dtype=jnp.float32),
        }
        return renew(params), renew(average) if average else {}, metrics

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch
    ) -> UInt8[np.ndarray, "B 4 H W 3"]:
        """Draw source, its reconstruction, target, its reconstruction."""
        return to_host(jax.jit(self._both)(params["vq"], batch))

    def _reconstruct(
        self, params: Tree, x: jax.Array, valid: jax.Array | None = None
    ) -> tuple[jax.Array, Quantized]:
        variables = {"params": params}
        latent = self.tokenizer.apply(variables, x, method="encode")
        quantized = quantize(latent, params["codebook"], self.model.unit_norm, valid)
        output = self.tokenizer.apply(variables, quantized.passed, method="decode_latent")
        return output, quantized

    def _both(self, params: Tree, batch: EditBatch) -> jax.Array:
        def output(pixels: jax.Array) -> jax.Array:
            return to_uint8(self._reconstruct(params, to_float(pixels))[0])

        pictures = [batch.source, output(batch.source), batch.target, output(batch.target)]
        return jnp.stack(pictures, axis=1)


def quantize(
    latent: Float[ArrayLike, "*n c"],
    codebook: Float[ArrayLike, "V c"],
    unit_norm: bool,
    valid: Bool[ArrayLike, " B"] | None = None,
) -> Quantized:
    """Replace latents by their nearest codes, with straight-through gradients.

    Only the `valid` pictures count in the distances; None: all.

    Source: van den Oord et al. 2017, equation 3.
    """
    stop = jax.lax.stop_gradient
    z = ops.maybe_normalize(latent, unit_norm)
    codes = stop(ops.nearest_code(z, codebook, unit_norm))
    vectors = ops.look_up(codebook, codes, unit_norm)
    return Quantized(
        z=z,
        codes=codes,
        passed=z + stop(vectors - z),
        commit=mean_of_rows((stop(vectors) - z) ** 2, valid),
        codebook=mean_of_rows((vectors - stop(z)) ** 2, valid),
    )


def drift(
    z: Float[Array, "n h w c"],
    mask: Bool[ArrayLike, "B H W"],
    valid: Bool[ArrayLike, " B"] | None = None,
) -> Float[Array, ""]:
    """Return how far latents move where the picture does not change.

    The encoder sees the whole picture, so an edit moves latents, and with them codes, everywhere.

    Args:
      z: latents of sources and targets, alternating: n = 2B.
      mask: True where the edit may change pixels.
      valid: pairs that count; None: all.

    Returns:
      Mean squared distance over the positions without a pixel in the mask, relative to the variance
      of all latents: otherwise the encoder would lower it by making all latents smaller.
    """
    _, h, w, c = z.shape
    B, H, W = mask.shape
    kept = ~mask.reshape(B, h, H // h, w, W // w).any((2, 4))  # [B,h,w]
    variance = z.var((0, 1, 2)).sum()
    if valid is not None:
        kept &= valid[:, None, None]
        both = jnp.repeat(valid, 2)
        mean = mean_of_rows(z, both, (0, 1, 2))
        variance = mean_of_rows((z - mean[None, None, None]) ** 2, both, (0, 1, 2)).sum()
    pairs = z.reshape(B, 2, h, w, c)
    squares = ((pairs[:, 0] - pairs[:, 1]) ** 2).sum(-1)
    distance = jnp.where(kept, squares, 0).sum() / jnp.maximum(kept.sum(), 1)
    return distance / (variance + 1e-6)


def draw_latents(
    key: Key[Array, ""], latents: Float[Array, "n c"], distance: Float[Array, " n"], count: int
) -> Float[Array, "V c"]:
    """Draw `count` = V latents, by their squared distance to their codes.

    They are all different if n >= V.
    """
    n = len(latents)
    ranks = jnp.log(distance + 1e-20) + jax.random.gumbel(key, (n,))
    return latents[jnp.argsort(-ranks)[jnp.arange(count) % n]]
