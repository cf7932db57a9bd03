"""The vector-quantised tokenizer as an objective: both pictures of each pair through the codes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.checkpoints.pretrained import save_pretrained
from jaxedit.config import PretrainedConfig, TrainConfig, require
from jaxedit.data.batch import EditBatch
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import codebook as ops
from jaxedit.ops.image import to_float, to_uint8
from jaxedit.planning import activations, flops
from jaxedit.sharding.rules import to_host
from jaxedit.train.losses import mean_of_rows
from jaxedit.train.objectives.objective import TRAINED, Objective, Pass
from jaxedit.train.objectives.reconstruction import (
    Metrics,
    ReconstructionLoss,
    pixels_of,
    valid_pictures,
)
from jaxedit.tree import Tree

_LLOYD = 10  # rounds of k-means per batch


class Quantized(NamedTuple):
    """Latents and their codes.

    z: f32[B,h,w,c], latents as they are compared.
    codes: i32[B,h,w].
    passed: f32[B,h,w,c], the codes' vectors with the gradient of z (straight-through).
    commit: f32[], mean squared distance, with the gradient of the latents.
    codebook: f32[], the same with the gradient of the codes.
    """

    z: jax.Array
    codes: jax.Array
    passed: jax.Array
    commit: jax.Array
    codebook: jax.Array


class VQObjective(Objective):
    """Trains {"vq": ..., "usage": ...}, with a GAN also {"discriminator": ...}.

    "usage" holds `idle` f32[V], the steps since each code was last used. No loss sees it; it
    counts in `after_update`, which also starts the codes and revives the dead ones.
    """

    def __init__(self, config: TrainConfig) -> None:
        """Check the settings of `config` and read the LPIPS network if it has a weight.

        Raises:
          ConfigError: the pictures do not fit the tokenizer, or a setting is outside its range.
          OSError, ValueError: the LPIPS weights are missing or do not fit.
        """
        self.settings, self.model = config.vq, config.model.vq
        self.export_dtype, self.image_size = config.export_dtype, config.data.image_size
        size, stride = config.data.image_size, self.model.stride
        require(
            size % stride == 0,
            f"data.image_size={size}: expected a multiple of {stride}, the tokenizer's stride",
        )
        for name in ("kmeans_batches", "restart_after"):
            value = getattr(self.settings, name)
            require(value >= 0, f"vq.{name}={value}: expected 0 or more")
        # Codes that were loaded are kept.
        self.kmeans_batches = 0 if config.init_from else self.settings.kmeans_batches
        # Training needs no exact codes: the encoder's convolutions run at the backend's precision.
        self.tokenizer = VQTokenizer(
            self.model, jnp.dtype(config.dtype), precision=None, remat=config.remat != "none"
        )
        self.reconstruction = ReconstructionLoss(self.settings, "vq")

    def init(self, key: jax.Array) -> Tree:
        """Make all trained parameters and the idle counts, f32."""
        tokenizer_key, discriminator_key = jax.random.split(key)
        side = self.model.stride
        params = self.tokenizer.init(tokenizer_key, jnp.zeros((1, side, side, 3)))["params"]
        usage = {"idle": jnp.zeros(self.model.codes)}
        return {"vq": params, "usage": usage} | self.reconstruction.init(discriminator_key)

    def frozen(self) -> Tree:
        """Return the LPIPS network, if its loss is on."""
        return self.reconstruction.frozen()

    def loss(
        self,
        params: Tree,
        frozen: Tree,
        batch: EditBatch,
        key: jax.Array,
        step: jax.Array,
        *,
        is_training: bool = True,
    ) -> tuple[jax.Array, Metrics]:
        """Return reconstruction, codebook, perceptual and adversarial losses of a batch.

        Args:
          params: as `init` makes them.
          frozen: as `frozen` makes them.
          batch: B pairs; both pictures of a pair are reconstructed.
          key: key[], not used.
          step: i32[], finished steps.
          is_training: see `ReconstructionLoss`.

        Returns:
          loss f32[], metrics f32[], and for `after_update` "latents" f32[n,c], "codes" i32[n].
        """
        x, valid = pixels_of(batch), valid_pictures(batch)
        output, quantized = self._reconstruct(params["vq"], x, valid)
        total, metrics = self.reconstruction(
            params, frozen, output, x, step, valid=valid, is_training=is_training
        )
        total += quantized.codebook + self.settings.commit_weight * quantized.commit
        if batch.mask is not None:
            metrics["drift"] = drift(quantized.z, batch.mask, batch.valid)
            total += self.settings.drift_weight * metrics["drift"]
        metrics |= {
            "commit": quantized.commit,
            "latents": jax.lax.stop_gradient(quantized.z).reshape(-1, self.model.code_width),
            "codes": quantized.codes.reshape(-1),
        }
        return total, metrics

    def passes(self) -> list[Pass]:
        """Return both pictures through the tokenizer, and what judges their reconstructions."""
        size, times = self.image_size, 2 * TRAINED
        return [
            Pass("vq", flops.image_encoder(self.model, size), times),
            Pass("vq", flops.image_decoder(self.model, size), times),
            *self.reconstruction.passes(size),
        ]

    def activations(self, rows: int) -> int:
        """Return what both pictures of all pairs need at once, see `Objective`."""
        options = {"remat": self.tokenizer.remat}
        itemsize = self.tokenizer.dtype.itemsize
        one = activations.tokenizer_training(self.model, self.image_size, itemsize, **options)
        return 2 * rows * (one + self.reconstruction.activations(self.image_size))

    def after_update(
        self, params: Tree, average: Tree, metrics: Metrics, key: jax.Array, step: jax.Array
    ) -> tuple[Tree, Tree, Metrics]:
        """Count the codes' use; start them by k-means, and revive dead ones far from the others.

        During the first `kmeans_batches` steps the codes follow k-means, each step from where the
        one before left them and the first from latents far apart. Codes that start or are revived
        at random latents would crowd where latents are dense. The moving average gets the same
        vectors as the parameters.
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

        def start() -> jax.Array:
            apart = ops.kmeans_plus_plus(key, latents, self.model.codes)
            centres = jnp.where(step == 0, apart, codebook)
            return ops.kmeans(latents, centres, unit_norm=norm, iterations=_LLOYD)

        fresh = jax.lax.cond(is_start, start, lambda: drawn)
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
        self, params: Tree, frozen: Tree, batch: EditBatch, key: jax.Array
    ) -> np.ndarray:
        """Draw u8[rows,4,H,W,3]: source, its reconstruction, target, its reconstruction."""
        return to_host(jax.jit(self._both)(params["vq"], batch))

    def export(self, params: Tree, directory: str) -> None:
        """Write the tokenizer alone as a pretrained directory."""
        config = PretrainedConfig(model_type="vq", vq=self.model)
        save_pretrained(directory, config, {"vq": params["vq"]}, dtype=self.export_dtype)

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
    latent: jax.Array, codebook: jax.Array, unit_norm: bool, valid: jax.Array | None = None
) -> Quantized:
    """Replace latents f32[B,h,w,c] by their codes from f32[V,c], with straight-through gradients.

    Only the pictures `valid`, bool[B], count in the distances; None is all.

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


def drift(z: jax.Array, mask: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """Return how far latents move where the picture does not change.

    The encoder sees the whole picture, so an edit moves latents, and with them codes, everywhere.

    Args:
      z: f32[2B,h,w,c], of sources and targets, alternating.
      mask: bool[B,H,W], True where the edit may change pixels.
      valid: bool[B], pairs that count; None is all.

    Returns:
      f32[], mean squared distance over the positions none of whose pixels are in the mask, relative
      to the variance of all latents: without that, the encoder would only make them smaller.
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


def draw_latents(key: jax.Array, latents: jax.Array, distance: jax.Array, count: int) -> jax.Array:
    """Draw latents by the squared distance to their codes, all different if there are enough.

    Args:
      key: key[].
      latents: f32[n,c].
      distance: f32[n], squared, of each latent to its code.
      count: V.

    Returns:
      f32[V,c].
    """
    n = len(latents)
    ranks = jnp.log(distance + 1e-20) + jax.random.gumbel(key, (n,))
    return latents[jnp.argsort(-ranks)[jnp.arange(count) % n]]
