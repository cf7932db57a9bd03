"""Training of the bitwise image tokenizer: pixels through the pyramid of bits, and back."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt8

from jaxedit.config import TrainConfig, require
from jaxedit.data.batch import EditBatch
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.ops.image import to_float, to_uint8
from jaxedit.sharding.rules import to_host
from jaxedit.train.objectives import bsq_losses as losses
from jaxedit.train.objectives.objective import Metrics
from jaxedit.train.objectives.reconstruction import TokenizerObjective, valid_pictures
from jaxedit.tree import Tree


class BSQObjective(TokenizerObjective):
    """Trains {"bsq": ...} and, with a GAN, {"discriminator": ...}."""

    NAME: ClassVar[str] = "bsq"

    def __init__(self, config: TrainConfig) -> None:
        """Check the settings; see `TokenizerObjective`.

        Raises:
          ConfigError: the scales do not fit the pictures, or a setting is out of range.
        """
        settings, size, stride = config.bsq, config.data.image_size, config.model.bsq.stride
        h, w = settings.scales[-1]
        require(
            (h * stride, w * stride) == (size, size),
            f"bsq.scales ends at {h}x{w}: expected {size // stride}x{size // stride} for "
            f"data.image_size={size} and a stride of {stride}",
        )
        drop = settings.scale_drop
        require(0 <= drop < 1, f"bsq.scale_drop={drop}: expected 0 <= value < 1")
        super().__init__(config, BSQTokenizer, settings.gan_lecam)
        self.columns = ("source", *(f"up to {h} x {w}" for h, w in settings.scales))

    def _autoencode(
        self, params: Tree, batch: EditBatch, pixels: Array, key: Array, is_training: bool
    ) -> tuple[Array, list[Array], Metrics]:
        cfg = self.settings
        keep = losses.draw_kept(key, len(cfg.scales), cfg.scale_drop if is_training else 0.0)
        output, quantized = self._reconstruct(params, pixels, keep, valid_pictures(batch))
        terms = jax.tree.map(lambda t: losses.mean_of_kept(t, keep), quantized.terms)
        metrics = {**terms._asdict(), **bit_entropies(quantized.bit_rates)}
        return output, [losses.quantizer_loss(terms, cfg)], metrics

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch
    ) -> UInt8[np.ndarray, "B columns H W 3"]:
        """Draw each source, then its reconstruction after every scale."""
        return to_host(jax.jit(self._after_each_scale)(params, batch.source))

    def _reconstruct(
        self, params: Tree, pixels: jax.Array, keep: jax.Array, valid: jax.Array | None = None
    ) -> tuple[jax.Array, losses.Quantized]:
        apply = functools.partial(self.tokenizer.apply, {"params": params["bsq"]})
        quantized = losses.quantize_pyramid(
            apply(pixels, method="encode"),
            self.settings.scales,
            keep,
            inv_temperature=self.settings.inv_temperature,
            valid=valid,
        )
        return apply(quantized.features[-1], method="decode"), quantized

    def _after_each_scale(self, params: Tree, pixels: jax.Array) -> jax.Array:
        K = len(self.settings.scales)
        _, quantized = self._reconstruct(params, to_float(pixels), jnp.ones(K, bool))

        def decode(z: jax.Array) -> jax.Array:
            variables = {"params": params["bsq"]}
            return to_uint8(self.tokenizer.apply(variables, z, method="decode"))

        images = jax.lax.map(decode, quantized.features)  # [K,B,H,W,3]
        return jnp.concatenate([pixels[:, None], images.swapaxes(0, 1)], axis=1)


def bit_entropies(rates: Float[ArrayLike, "K d"]) -> Metrics:
    """Return the mean entropy of each scale's bits, in bits, from the shares of positive bits."""
    entropy = losses.binary_entropy(rates).mean(-1) / jnp.log(2.0)
    return {f"bit_entropy_{k + 1}": entropy[k] for k in range(len(rates))}
