"""Training of image tokenizers: pictures that are decoded from codes look like the originals."""

import pathlib
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Key

from jaxedit.checkpoints.pretrained import save_pretrained
from jaxedit.config import PretrainedConfig, TrainConfig, require
from jaxedit.convert.keymaps import keymap_lpips
from jaxedit.data.batch import EditBatch
from jaxedit.models.discriminator import Discriminator
from jaxedit.models.lpips import LPIPS
from jaxedit.ops.image import to_float
from jaxedit.planning import activations, flops
from jaxedit.train.losses import mean_of_rows
from jaxedit.train.objectives.objective import (
    FROZEN,
    THROUGH,
    TRAINED,
    Metrics,
    Objective,
    Pass,
)
from jaxedit.tree import Tree


class TokenizerObjective(Objective):
    """The base of both tokenizers' objectives; both pictures of each pair are reconstructed.

    Trains {NAME: tokenizer} and, with a GAN, {"discriminator": ...}, by the gradient of a single
    sum of pixel, perceptual and adversarial losses. The generator's loss treats the discriminator's
    weights as constants, and the discriminator's loss treats the reconstruction as a constant, so
    each network gets only its own gradient.
    """

    NAME: ClassVar[str]  # of the network, and of its settings in a config

    def __init__(self, config: TrainConfig, tokenizer: type[nn.Module], lecam: float = 0.0) -> None:
        """Read the LPIPS network if its loss has a weight.

        Args:
          config: the run.
          tokenizer: the module that is trained.
          lecam: weight of the discriminator's regulariser.

        Raises:
          ConfigError: there is an LPIPS weight but no network.
          OSError, ValueError: the network's weights are missing or do not fit.
        """
        self.settings, self.model = getattr(config, self.NAME), getattr(config.model, self.NAME)
        self.export_dtype, self.image_size = config.export_dtype, config.data.image_size
        # Training needs no exact codes: the encoder's convolutions run at the backend's precision.
        self.tokenizer = tokenizer(
            self.model, jnp.dtype(config.dtype), precision=None, remat=config.remat != "none"
        )
        self.discriminator, self.lecam = Discriminator(self.settings.gan_channels), lecam
        self._frozen: Tree = {}
        if self.settings.lpips_weight:
            path = self.settings.lpips_weights
            name = f"{self.NAME}.lpips_weights"
            require(path != "", f"{name} is empty: expected a file, or lpips_weight=0")
            self._frozen = {"lpips": keymap_lpips.read(pathlib.Path(path))}

    def init(self, key: Key[Array, ""]) -> Tree:
        """See `Objective`."""
        tokenizer_key, discriminator_key = jax.random.split(key)
        side = self.model.stride
        params = self.tokenizer.init(tokenizer_key, jnp.zeros((1, side, side, 3)))["params"]
        if not self.settings.gan_weight:
            return {self.NAME: params}
        variables = self.discriminator.init(discriminator_key, jnp.zeros((1, 64, 64, 3)))
        return {self.NAME: params, "discriminator": variables["params"]}

    def frozen(self) -> Tree:
        """Return {"lpips": ...}, or nothing if its loss has no weight."""
        return self._frozen

    def passes(self) -> list[Pass]:
        """See `Objective`."""
        size, cfg = self.image_size, self.settings
        found = [
            Pass(self.NAME, flops.image_encoder(self.model, size), 2 * TRAINED),
            Pass(self.NAME, flops.image_decoder(self.model, size), 2 * TRAINED),
        ]
        if cfg.lpips_weight:  # the original, and with its gradient the reconstruction
            found.append(Pass("lpips", flops.vgg16(size), 2 * (FROZEN + THROUGH)))
        if cfg.gan_weight:  # scores of the original, of a constant, and for the generator
            patches = flops.discriminator(cfg.gan_channels, size)
            found.append(Pass("discriminator", patches, 2 * (2 * TRAINED + THROUGH)))
        return found

    def activations(self, rows: int) -> int:
        """See `Objective`; both pictures of all pairs are in memory at once."""
        size, cfg = self.image_size, self.settings
        itemsize, remat = self.tokenizer.dtype.itemsize, self.tokenizer.remat
        picture = activations.tokenizer_training(self.model, size, itemsize, remat=remat)
        if cfg.lpips_weight:
            picture += activations.vgg16_training(size)
        if cfg.gan_weight:
            picture += activations.discriminator_training(cfg.gan_channels, size)
        return 2 * rows * picture

    def export(self, params: Tree, directory: str) -> None:
        """Write the tokenizer, without the discriminator, as a pretrained directory."""
        config = PretrainedConfig(model_type=self.NAME, **{self.NAME: self.model})
        networks = {self.NAME: params[self.NAME]}
        save_pretrained(directory, config, networks, dtype=self.export_dtype)

    def loss(
        self,
        params: Tree,
        frozen: Tree,
        batch: EditBatch,
        key: Key[Array, ""],
        step: Int[ArrayLike, ""],
        *,
        is_training: bool = True,
    ) -> tuple[Float[Array, ""], Metrics]:
        """See `Objective`: the losses of the reconstructions and of the quantiser."""
        pixels, valid = pixels_of(batch), valid_pictures(batch)
        output, terms, metrics = self._autoencode(params, batch, pixels, key, is_training)
        total, found = self.reconstruction_loss(
            params, frozen, output, pixels, step, valid=valid, is_training=is_training
        )
        return sum(terms, start=total), metrics | found

    def _autoencode(
        self, params: Tree, batch: EditBatch, pixels: Array, key: Array, is_training: bool
    ) -> tuple[Array, list[Array], Metrics]:
        """Return the reconstructions, the terms of the quantiser's loss, and its metrics."""

    def reconstruction_loss(
        self,
        params: Tree,
        frozen: Tree,
        output: Float[Array, "B H W 3"],
        pixels: Float[Array, "B H W 3"],
        step: Int[ArrayLike, ""],
        *,
        valid: Bool[ArrayLike, " B"] | None = None,
        is_training: bool = True,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the weighted sum of the losses of reconstructions, and the metrics.

        Args:
          params: see `loss`.
          frozen: see `loss`.
          output: the reconstructions, not clamped.
          pixels: the pictures, in [-1,1].
          step: number of finished steps.
          valid: pictures that count; None: all.
          is_training: False: leave out the adversarial losses, because a discriminator uses the
            statistics of its batch; report the mean PSNR of pictures, not the batch's PSNR.
        """
        cfg = self.settings
        l1 = mean_of_rows(jnp.abs(output - pixels), valid)
        mse = mean_of_rows((output - pixels) ** 2, valid)
        total = cfg.l1_weight * l1 + cfg.mse_weight * mse
        metrics = {"l1": l1, "mse": mse, "psnr": psnr(output, pixels)}
        if not is_training:
            metrics["psnr"] = mean_of_rows(jax.vmap(psnr)(output, pixels), valid)
        if cfg.lpips_weight:
            distance = LPIPS().apply({"params": frozen["lpips"]}, output, pixels)
            metrics["lpips"] = mean_of_rows(distance, valid)
            total += cfg.lpips_weight * metrics["lpips"]
        if cfg.gan_weight and is_training:
            adversarial = self._adversarial(params["discriminator"], output, pixels)
            is_on = jnp.float32(step >= cfg.gan_start)
            total += cfg.gan_weight * is_on * adversarial["gan_generator"]
            total += adversarial["gan_discriminator"]
            metrics |= adversarial
        return total, metrics

    def _adversarial(self, params: Tree, output: jax.Array, pixels: jax.Array) -> Metrics:
        def score(params: Tree, pixels: jax.Array) -> jax.Array:
            return self.discriminator.apply({"params": params}, pixels)

        real, fake = score(params, pixels), score(params, jax.lax.stop_gradient(output))
        return {
            "gan_generator": -score(jax.lax.stop_gradient(params), output).mean(),
            "gan_discriminator": discriminator_loss(real, fake, self.lecam),
            "score_real": real.mean(),
            "score_fake": fake.mean(),
        }


def pixels_of(batch: EditBatch) -> Float32[Array, "_ H W 3"]:
    """Return sources and targets of B pairs, alternating: 2B pictures in [-1,1]."""
    pixels = jnp.stack([batch.source, batch.target], axis=1)  # [B,2,H,W,3]
    return to_float(pixels.reshape(-1, *batch.source.shape[1:]))


def valid_pictures(batch: EditBatch) -> Bool[Array, " _"] | None:
    """Return which of the 2B pictures of `pixels_of` count; None: all."""
    return None if batch.valid is None else jnp.repeat(batch.valid, 2)


def psnr(a: Float[Array, "*n"], b: Float[Array, "*n"]) -> Float[Array, ""]:
    """Return the peak signal-to-noise ratio in dB of images, clamped to [-1,1]."""
    error = jnp.mean((jnp.clip(a, -1, 1) - jnp.clip(b, -1, 1)) ** 2)
    return 10 * jnp.log10(4 / jnp.maximum(error, 1e-10))


def discriminator_loss(
    real: Float[Array, "*n"], fake: Float[Array, "*n"], lecam: float
) -> Float[Array, ""]:
    """Return the hinge loss of the scores of real and reconstructed images.

    The regulariser with weight `lecam` is like LeCam's: it keeps both means within 0.1 of zero.
    """
    hinge = (jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()) / 2
    excess = [jax.nn.relu(jnp.abs(scores.mean()) - 0.1) ** 2 for scores in (real, fake)]
    return hinge + lecam * sum(excess)
