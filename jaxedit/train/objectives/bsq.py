"""The image tokenizer as an objective: reconstruct both pictures of each pair through the bits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.checkpoints.pretrained import save_pretrained
from jaxedit.config import PretrainedConfig, TrainConfig, require
from jaxedit.data.batch import EditBatch
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.ops.image import to_float, to_uint8
from jaxedit.planning import activations, flops
from jaxedit.sharding.rules import to_host
from jaxedit.train.objectives import bsq_losses as losses
from jaxedit.train.objectives.objective import TRAINED, Objective, Pass
from jaxedit.train.objectives.reconstruction import (
    Metrics,
    ReconstructionLoss,
    pixels_of,
    valid_pictures,
)
from jaxedit.tree import Tree


class BSQObjective(Objective):
    """Trains {"bsq": ...}, with a GAN also {"discriminator": ...}, by one gradient of one loss."""

    def __init__(self, config: TrainConfig) -> None:
        """Check the settings of `config` and read the LPIPS network if it has a weight.

        Raises:
          ConfigError: scales do not fit the pictures, or a setting is outside its range.
          OSError, ValueError: the LPIPS weights are missing or do not fit.
        """
        self.settings, self.model = config.bsq, config.model.bsq
        self.export_dtype, self.image_size = config.export_dtype, config.data.image_size
        h, w = self.settings.scales[-1]
        size, stride = config.data.image_size, self.model.stride
        require(
            (h * stride, w * stride) == (size, size),
            f"bsq.scales ends at {h}x{w}: expected {size // stride}x{size // stride} for "
            f"data.image_size={size} and a stride of {stride}",
        )
        drop = self.settings.scale_drop
        require(0 <= drop < 1, f"bsq.scale_drop={drop}: expected 0 <= value < 1")
        # Training needs no exact labels: the encoder's convolutions run at the backend's precision.
        self.tokenizer = BSQTokenizer(
            self.model, jnp.dtype(config.dtype), precision=None, remat=config.remat != "none"
        )
        self.reconstruction = ReconstructionLoss(
            self.settings, "bsq", lecam=self.settings.gan_lecam
        )

    def init(self, key: jax.Array) -> Tree:
        """Make all trained parameters, f32."""
        tokenizer_key, discriminator_key = jax.random.split(key)
        pixels = jnp.zeros((1, 64, 64, 3))
        params = {"bsq": self.tokenizer.init(tokenizer_key, pixels)["params"]}
        return params | self.reconstruction.init(discriminator_key)

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
        """Return reconstruction, quantizer, perceptual and adversarial losses of one batch.

        Args:
          params: as `init` makes them.
          frozen: as `frozen` makes them.
          batch: B pairs; both pictures of a pair are reconstructed.
          key: key[], for the scales that are dropped.
          step: i32[], finished steps.
          is_training: whether scales are dropped; see `ReconstructionLoss` too.

        Returns:
          loss f32[], metrics f32[].
        """
        cfg = self.settings
        x, valid = pixels_of(batch), valid_pictures(batch)
        keep = losses.draw_kept(key, len(cfg.scales), cfg.scale_drop if is_training else 0.0)
        output, quantized = self._reconstruct(params, x, keep, valid)
        terms = jax.tree.map(lambda t: losses.mean_of_kept(t, keep), quantized.terms)
        total, metrics = self.reconstruction(
            params, frozen, output, x, step, valid=valid, is_training=is_training
        )
        total += losses.quantizer_loss(terms, cfg)
        metrics |= {**terms._asdict(), **bit_entropies(quantized.bit_rates)}
        return total, metrics

    def passes(self) -> list[Pass]:
        """Return both pictures through the tokenizer, and what judges their reconstructions."""
        size, times = self.image_size, 2 * TRAINED
        return [
            Pass("bsq", flops.image_encoder(self.model, size), times),
            Pass("bsq", flops.image_decoder(self.model, size), times),
            *self.reconstruction.passes(size),
        ]

    def activations(self, rows: int) -> int:
        """Return what both pictures of all pairs need at once, see `Objective`."""
        options = {"remat": self.tokenizer.remat}
        itemsize = self.tokenizer.dtype.itemsize
        one = activations.tokenizer_training(self.model, self.image_size, itemsize, **options)
        return 2 * rows * (one + self.reconstruction.activations(self.image_size))

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch, key: jax.Array
    ) -> np.ndarray:
        """Draw u8[rows,1+K,H,W,3]: each source, then its reconstruction after every scale."""
        return to_host(jax.jit(self._after_each_scale)(params, batch.source))

    def export(self, params: Tree, directory: str) -> None:
        """Write the tokenizer, without the discriminator, as a pretrained directory."""
        config = PretrainedConfig(model_type="bsq", bsq=self.model)
        networks = {"bsq": params["bsq"]}
        save_pretrained(directory, config, networks, dtype=self.export_dtype)

    def _reconstruct(
        self, params: Tree, x: jax.Array, keep: jax.Array, valid: jax.Array | None = None
    ) -> tuple[jax.Array, losses.Quantized]:
        apply = functools.partial(self.tokenizer.apply, {"params": params["bsq"]})
        quantized = losses.quantize_pyramid(
            apply(x, method="encode"),
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


def bit_entropies(rates: jax.Array) -> Metrics:
    """Return the mean entropy of each scale's bits, in bits, from their rates f32[K,d]."""
    entropy = losses.binary_entropy(rates).mean(-1) / jnp.log(2.0)
    return {f"bit_entropy_{k + 1}": entropy[k] for k in range(len(rates))}
