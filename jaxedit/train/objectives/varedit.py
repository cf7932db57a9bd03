"""Training of VAREdit: predict the bits of the target image from the source and the text."""

from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from jaxedit.config import TrainConfig, require
from jaxedit.data.batch import EditBatch
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import quantize
from jaxedit.planning import activations, flops
from jaxedit.planning.flops import Forward
from jaxedit.sampling.methods import numbers_of
from jaxedit.sampling.sample_varedit import Rows, edit_pixels, source_tokens
from jaxedit.train.losses import BitwiseLoss, bitwise_loss
from jaxedit.train.objectives.frozen_networks import frozen_networks
from jaxedit.train.objectives.objective import Metrics
from jaxedit.train.objectives.transformer import TransformerObjective
from jaxedit.tree import Tree


class VAREditObjective(TransformerObjective):
    """Next-scale prediction of bits, with bitwise self-correction.

    Source: VAREdit (ICLR 2026 submission), section 3; self-correction and loss weights as in
    Infinity (Han et al. 2024), section 3.
    """

    TOKENIZER: ClassVar[str] = "bsq"

    def __init__(self, config: TrainConfig, frozen: Tree) -> None:
        """Check that all settings fit each other; see `TransformerObjective`.

        Raises:
          ConfigError: sizes do not fit.
        """
        check(config)
        super().__init__(config, frozen)
        self.settings = config.varedit
        self.transformer = VAREdit(self.model.varedit, self.dtype, config.remat, config.unroll)
        self.tokenizer = BSQTokenizer(self.model.bsq, precision=config.label_precision)

    @classmethod
    def from_config(cls, config: TrainConfig, *, is_abstract: bool = False) -> "VAREditObjective":
        """See `Objective`."""
        frozen = frozen_networks(config, config.varedit, "bsq", is_abstract=is_abstract)
        return cls(config, frozen)

    def _loss(
        self, networks: Tree, batch: EditBatch, text: Array, key: Array, is_training: bool
    ) -> tuple[Array, Metrics]:
        noise_key, drop_key, path_key = jax.random.split(key, 3)
        text_drop = self.settings.text_drop if is_training else 0.0
        source, labels = self.tokens(networks["bsq"], batch, noise_key, is_training=is_training)
        is_dropped = jax.random.bernoulli(drop_key, text_drop, source.shape[:1])
        model = self.model.varedit
        logits = self.transformer.apply(
            {"params": networks["transformer"]},
            text,
            batch.text_mask,
            is_dropped,
            source,
            labels.inputs,
            scales=model.scales,
            rope_scales=model.rope_scales,
            deterministic=not is_training,
            rngs={"drop_path": path_key},
        )
        weights = self.settings.scale_weights
        result = bitwise_loss(logits, labels.bits, model.scales, weights, batch.valid)
        return result.loss, metrics_of(result)

    def tokens(
        self, bsq: Tree, batch: EditBatch, key: Key[Array, ""], *, is_training: bool = True
    ) -> tuple[Float[Array, "B Ls Q"], quantize.ScaleLabels]:
        """Encode source tokens, and labels whose inputs have flipped bits (self-correction).

        Args:
          bsq: the image tokenizer's parameters.
          batch: B pairs.
          key: for the bits that are flipped.
          is_training: False: flip none.
        """
        c = self.model.varedit
        raw = self.encode(bsq, (batch.source, batch.target), "encode")  # [B,2,h,w,d]
        source, target = raw[:, 0], raw[:, 1]
        flip = quantize.draw_flips(
            key,
            len(target),
            c.bits,
            c.latent_scales,
            strength=self.settings.bit_noise if is_training else 0.0,
            noise_scales=self.settings.bit_noise_scales,
        )
        labels = quantize.encode_labels(target, c.latent_scales, patchify=c.patchify, flip=flip)
        return source_tokens(source, c), labels

    def _forward(self) -> Forward:
        return flops.varedit(self.model.varedit, self.config.data.text_tokens)

    def _saved(self, itemsize: int) -> int:
        tokens, remat = self.config.data.text_tokens, self.config.remat
        return activations.varedit_training(self.model.varedit, tokens, itemsize, remat)

    def _edit(self, networks: Tree, batch: EditBatch, text: Array, seeds: np.ndarray) -> Array:
        sample = self.model.sample
        output, _ = edit_pixels(
            networks,
            Rows(batch.source, text, batch.text_mask, seeds),
            numbers_of(sample, len(self.model.varedit.scales)),
            config=self.model,
            greedy=sample.greedy,
            guided=sample.guided,
            dtype=self.config.dtype,
        )
        return output


def check(config: TrainConfig) -> None:
    """Raise ConfigError unless data, tokenizer and transformer fit each other."""
    model, data = config.model, config.data
    require(
        model.varedit.conditioning != "none",
        "model.varedit.conditioning='none': expected sar, finest or full",
    )
    h, w = model.varedit.latent_scales[-1]
    height, width = h * model.bsq.stride, w * model.bsq.stride
    require(
        height == width == data.image_size,
        f"data.image_size={data.image_size}: varedit.scales end at {height}x{width} pixels",
    )
    require(
        0 < data.text_tokens <= model.varedit.max_text_tokens,
        f"data.text_tokens={data.text_tokens}: expected 1 to "
        f"varedit.max_text_tokens={model.varedit.max_text_tokens}",
    )
    for name in ("text_drop", "bit_noise"):
        value = getattr(config.varedit, name)
        require(0 <= value <= 1, f"varedit.{name}={value}: expected 0 <= value <= 1")


def metrics_of(result: BitwiseLoss) -> Metrics:
    """Return the mean accuracy, and loss_k and accuracy_k of each scale k from 1."""
    metrics = {"accuracy": result.accuracy.mean()}
    for k, (loss, accuracy) in enumerate(zip(result.per_scale, result.accuracy, strict=True), 1):
        metrics |= {f"loss_{k}": loss, f"accuracy_{k}": accuracy}
    return metrics
