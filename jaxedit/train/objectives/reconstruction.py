"""What every image tokenizer is trained for: pictures that look like the originals."""

import pathlib

import jax
import jax.numpy as jnp

from jaxedit.config import BSQTrainConfig, VQTrainConfig, require
from jaxedit.convert.keymaps import keymap_lpips
from jaxedit.data.batch import EditBatch
from jaxedit.models.discriminator import Discriminator
from jaxedit.models.lpips import LPIPS
from jaxedit.ops.image import to_float
from jaxedit.planning import activations, flops
from jaxedit.train.losses import mean_of_rows
from jaxedit.train.objectives.objective import FROZEN, THROUGH, TRAINED, Metrics, Pass
from jaxedit.tree import Tree


class ReconstructionLoss:
    """Pixel, perceptual and adversarial losses, by one gradient of one sum.

    The generator's term sees the discriminator's weights as constants, and the discriminator's
    terms see the reconstruction as a constant, so each part only gets the gradient of its own loss.
    """

    def __init__(
        self, settings: BSQTrainConfig | VQTrainConfig, name: str, *, lecam: float = 0.0
    ) -> None:
        """Read the LPIPS network if it has a weight.

        Args:
          settings: weights of the losses.
          name: of these settings in a config, for messages.
          lecam: weight of the discriminator's regulariser.

        Raises:
          ConfigError: an LPIPS weight without its network.
          OSError, ValueError: the LPIPS weights are missing or do not fit.
        """
        self.settings, self.lecam = settings, lecam
        self.discriminator = Discriminator(settings.gan_channels)
        self._lpips: Tree = {}
        if settings.lpips_weight:
            path = settings.lpips_weights
            require(
                path != "", f"{name}.lpips_weights is empty: expected a file, or lpips_weight=0"
            )
            self._lpips = {"lpips": keymap_lpips.read(pathlib.Path(path))}

    def init(self, key: jax.Array) -> Tree:
        """Make {"discriminator": ...}, or nothing without a GAN."""
        if not self.settings.gan_weight:
            return {}
        variables = self.discriminator.init(key, jnp.zeros((1, 64, 64, 3)))
        return {"discriminator": variables["params"]}

    def frozen(self) -> Tree:
        """Return the LPIPS network, if its loss is on."""
        return self._lpips

    def passes(self, size: int) -> list[Pass]:
        """Return what the losses of both pictures of a pair cost, of size x size pixels each."""
        found, cfg = [], self.settings
        if cfg.lpips_weight:  # of the original and, with its gradient, of the reconstruction
            found.append(Pass("lpips", flops.vgg16(size), 2 * (FROZEN + THROUGH)))
        if cfg.gan_weight:  # scores of the original, of a constant, and for the generator
            patches = flops.discriminator(cfg.gan_channels, size)
            found.append(Pass("discriminator", patches, 2 * (2 * TRAINED + THROUGH)))
        return found

    def activations(self, size: int) -> int:
        """Return the bytes that the losses of a picture of size x size pixels need on the way."""
        cfg = self.settings
        lpips = activations.vgg16_training(size) if cfg.lpips_weight else 0
        patches = activations.discriminator_training(cfg.gan_channels, size)
        return lpips + (patches if cfg.gan_weight else 0)

    def __call__(
        self,
        params: Tree,
        frozen: Tree,
        output: jax.Array,
        x: jax.Array,
        step: jax.Array,
        *,
        valid: jax.Array | None = None,
        is_training: bool = True,
    ) -> tuple[jax.Array, Metrics]:
        """Return the weighted sum of all losses.

        Args:
          params: holds "discriminator" with a GAN.
          frozen: as `frozen` makes it.
          output: f32[B,H,W,3], the reconstruction, not clamped.
          x: f32[B,H,W,3] in [-1,1], the pictures.
          step: i32[], finished steps.
          valid: bool[B], pictures that count; None is all.
          is_training: False: without the adversarial losses, as a discriminator judges by the
            statistics of its batch, and with the mean PSNR of pictures, not that of the batch.

        Returns:
          loss f32[], metrics f32[].
        """
        cfg = self.settings
        l1 = mean_of_rows(jnp.abs(output - x), valid)
        mse = mean_of_rows((output - x) ** 2, valid)
        total = cfg.l1_weight * l1 + cfg.mse_weight * mse
        metrics = {"l1": l1, "mse": mse, "psnr": psnr(output, x)}
        if not is_training:
            metrics["psnr"] = mean_of_rows(jax.vmap(psnr)(output, x), valid)
        if cfg.lpips_weight:
            distance = LPIPS().apply({"params": frozen["lpips"]}, output, x)
            metrics["lpips"] = mean_of_rows(distance, valid)
            total += cfg.lpips_weight * metrics["lpips"]
        if cfg.gan_weight and is_training:
            adversarial = self._adversarial(params["discriminator"], output, x)
            is_on = (step >= cfg.gan_start).astype(jnp.float32)
            total += cfg.gan_weight * is_on * adversarial["gan_generator"]
            total += adversarial["gan_discriminator"]
            metrics |= adversarial
        return total, metrics

    def _adversarial(self, params: Tree, output: jax.Array, x: jax.Array) -> Metrics:
        def score(params: Tree, pixels: jax.Array) -> jax.Array:
            return self.discriminator.apply({"params": params}, pixels)

        real, fake = score(params, x), score(params, jax.lax.stop_gradient(output))
        return {
            "gan_generator": -score(jax.lax.stop_gradient(params), output).mean(),
            "gan_discriminator": discriminator_loss(real, fake, self.lecam),
            "score_real": real.mean(),
            "score_fake": fake.mean(),
        }


def pixels_of(batch: EditBatch) -> jax.Array:
    """Return sources and targets of a batch, alternating: f32[2B,H,W,3] in [-1,1]."""
    pixels = jnp.stack([batch.source, batch.target], axis=1)  # [B,2,H,W,3]
    return to_float(pixels.reshape(-1, *batch.source.shape[1:]))


def valid_pictures(batch: EditBatch) -> jax.Array | None:
    """Return which of `pixels_of` count, bool[2B]; None: all."""
    return None if batch.valid is None else jnp.repeat(batch.valid, 2)


def psnr(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the peak signal-to-noise ratio in dB of images f32[...], clamped to [-1,1]."""
    error = jnp.mean((jnp.clip(a, -1, 1) - jnp.clip(b, -1, 1)) ** 2)
    return 10 * jnp.log10(4 / jnp.maximum(error, 1e-10))


def discriminator_loss(real: jax.Array, fake: jax.Array, lecam: float) -> jax.Array:
    """Return the hinge loss of the scores f32[...] of real and reconstructed images.

    Args:
      real: scores of images.
      fake: scores of reconstructions.
      lecam: weight of the LeCam-like regulariser, which keeps both means within 0.1 of zero.
    """
    hinge = (jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()) / 2
    excess = [jax.nn.relu(jnp.abs(scores.mean()) - 0.1) ** 2 for scores in (real, fake)]
    return hinge + lecam * sum(excess)
