"""VAREdit as an objective: predict the bits of the target image from the source and the text."""

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.checkpoints.pretrained import abstract_params, save_pretrained
from jaxedit.config import PretrainedConfig, TrainConfig, require
from jaxedit.data.batch import EditBatch
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.varedit import VAREdit, init_params
from jaxedit.ops import image, quantize
from jaxedit.planning import activations, flops
from jaxedit.sampling.methods import numbers_of
from jaxedit.sampling.sample_varedit import Rows, edit_pixels, source_tokens
from jaxedit.sampling.text_encoder import encode_text
from jaxedit.sharding.rules import to_host
from jaxedit.train.losses import BitwiseLoss, bitwise_loss
from jaxedit.train.objectives.frozen_networks import cast_block_kernels, read_frozen
from jaxedit.train.objectives.objective import FROZEN, TRAINED, Metrics, Objective, Pass
from jaxedit.tree import Tree


class VAREditObjective(Objective):
    """Trains {"transformer": ...} and, unless weights for it are given, the text encoder {"t5"}.

    The image tokenizer is frozen: its encoder turns pixels into labels, in f32.

    Source: VAREdit (ICLR 2026 submission), section 3; bitwise self-correction and loss weights as
    in Infinity (Han et al. 2024), section 3.
    """

    def __init__(self, config: TrainConfig, frozen: Tree) -> None:
        """Check that all settings fit each other.

        Args:
          config: the run.
          frozen: the networks that are not trained, as `load_frozen` reads them.

        Raises:
          ConfigError: sizes that do not fit.
        """
        self.config, self.settings = config, config.varedit
        self.model: PretrainedConfig = config.model
        check(config)
        dtype = jnp.dtype(config.dtype)
        self.transformer = VAREdit(self.model.varedit, dtype, config.remat, config.unroll)
        self.text_encoder = T5Encoder(self.model.t5, dtype)
        self.tokenizer = BSQTokenizer(self.model.bsq, precision=config.label_precision)
        self._frozen = frozen

    @classmethod
    def from_config(cls, config: TrainConfig, *, is_abstract: bool = False) -> Self:
        """See `Objective`."""
        frozen = abstract_frozen if is_abstract else load_frozen
        return cls(config, frozen(config))

    def init(self, key: jax.Array) -> Tree:
        """Make all trained parameters, f32."""
        transformer_key, text_key = jax.random.split(key)
        params = {"transformer": init_params(self.model.varedit, transformer_key)}
        if "t5" not in self._frozen:
            ids = jnp.zeros((1, 2), jnp.int32)
            params["t5"] = self.text_encoder.init(text_key, ids, ids == 0)["params"]
        return params

    def frozen(self) -> Tree:
        """Return {"bsq": ...} and, if it is not trained, {"t5": ...}."""
        return cast_block_kernels(self._frozen, self.config.dtype)

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
        """Return the bitwise loss, with the loss and the bit accuracy of every scale.

        Args:
          params: as `init` makes them.
          frozen: as `frozen` makes them.
          batch: B pairs.
          key: key[], for bit noise, text drop and stochastic depth.
          step: i32[], not used.
          is_training: whether there is bit noise, text drop and stochastic depth.

        Returns:
          loss f32[], metrics f32[].
        """
        noise_key, drop_key, path_key = jax.random.split(key, 3)
        text_drop = self.settings.text_drop if is_training else 0.0
        source, labels = self.tokens(frozen["bsq"], batch, noise_key, is_training=is_training)
        text_drop = jax.random.bernoulli(drop_key, text_drop, source.shape[:1])
        networks = frozen | params
        text = self.text_encoder.apply({"params": networks["t5"]}, batch.text_ids, batch.text_mask)
        model = self.model.varedit
        logits = self.transformer.apply(
            {"params": params["transformer"]},
            *(text, batch.text_mask, text_drop, source, labels.inputs),
            scales=model.scales,
            rope_scales=model.rope_scales,
            deterministic=not is_training,
            rngs={"drop_path": path_key},
        )
        weights = self.settings.scale_weights
        result = bitwise_loss(logits, labels.bits, model.scales, weights, batch.valid)
        return result.loss, metrics_of(result)

    def passes(self) -> list[Pass]:
        """Return both pictures through the tokenizer, the text, the transformer."""
        text_tokens, model = self.config.data.text_tokens, self.model
        picture = flops.image_encoder(model.bsq, self.config.data.image_size)
        text = FROZEN if "t5" in self._frozen else TRAINED
        return [
            Pass("bsq", picture, 2 * FROZEN),
            Pass("t5", flops.t5(model.t5, text_tokens), text),
            Pass("transformer", flops.varedit(model.varedit, text_tokens), TRAINED),
        ]

    def activations(self, rows: int) -> int:
        """Return the larger of reading both pictures and the transformer, see `Objective`."""
        model, text_tokens = self.model, self.config.data.text_tokens
        itemsize = jnp.dtype(self.config.dtype).itemsize
        pictures = 2 * activations.image_encoder(model.bsq, self.config.data.image_size)
        predicting = activations.varedit_training(
            model.varedit, text_tokens, itemsize, self.config.remat
        )
        if "t5" not in self._frozen:
            predicting += activations.t5_training(model.t5, text_tokens, itemsize)
        return rows * max(pictures, predicting)

    def tokens(
        self, bsq: Tree, batch: EditBatch, key: jax.Array, *, is_training: bool = True
    ) -> tuple[jax.Array, quantize.ScaleLabels]:
        """Encode source tokens f32[B,Ls,Q] and labels, disturbed by bitwise self-correction.

        Args:
          bsq: the image tokenizer's parameters.
          batch: B pairs.
          key: key[], for the bits that are flipped.
          is_training: whether any are.
        """
        c = self.model.varedit
        # source and target side by side: devices keep their rows
        pixels = image.to_float(jnp.stack([batch.source, batch.target], axis=1))
        pixels = pixels.reshape(-1, *pixels.shape[2:])  # [2B,H,W,3]
        raw = self.tokenizer.apply({"params": bsq}, pixels, method="encode")  # [2B,h,w,d]
        raw = jax.lax.stop_gradient(raw).reshape(-1, 2, *raw.shape[1:])
        source, target = raw[:, 0], raw[:, 1]
        flip = quantize.draw_flips(
            *(key, len(target), c.bits, c.latent_scales),
            strength=self.settings.bit_noise if is_training else 0.0,
            noise_scales=self.settings.bit_noise_scales,
        )
        labels = quantize.encode_labels(target, c.latent_scales, patchify=c.patchify, flip=flip)
        return source_tokens(source, c), labels

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch, key: jax.Array
    ) -> np.ndarray:
        """Draw u8[rows,3,H,W,3]: source, sampled edit, target; the same noise at every step."""
        sample = self.model.sample
        numbers = numbers_of(sample, len(self.model.varedit.scales))
        seeds = np.full(len(batch.source), self.config.seed, np.int32)
        networks = frozen | params
        text = encode_text(
            *(networks["t5"], batch.text_ids, batch.text_mask),
            config=self.model.t5,
            dtype=self.config.dtype,
        )
        output, _ = edit_pixels(
            networks,
            Rows(batch.source, text, batch.text_mask, seeds),
            numbers,
            config=self.model,
            greedy=sample.greedy,
            dtype=self.config.dtype,
        )
        return to_host(jnp.stack([batch.source, output, batch.target], axis=1))

    def export(self, params: Tree, directory: str) -> None:
        """Write a pretrained directory for `Editor`: three networks and the text tokenizer."""
        networks = self._frozen | params
        save_pretrained(
            *(directory, self.model, networks, self.config.text_tokenizer),
            dtype=self.config.export_dtype,
        )


def load_frozen(config: TrainConfig) -> Tree:
    """Read the networks that are not trained: {"bsq": ...} and perhaps {"t5": ...}, f32.

    Raises:
      ConfigError: weights of another config.
      OSError: weights that are not there.
    """
    tokenizer = config.varedit.tokenizer or config.init_from
    loaded = read_frozen(tokenizer, "bsq", config.model)
    if config.varedit.text_encoder:
        loaded |= read_frozen(config.varedit.text_encoder, "t5", config.model)
    return loaded


def abstract_frozen(config: TrainConfig) -> Tree:
    """Return the shapes of what `load_frozen` would read; nothing is read."""
    names = ("bsq", "t5") if config.varedit.text_encoder else ("bsq",)
    shapes = abstract_params(config.model)
    return {name: shapes[name] for name in names}


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
    """Return the mean accuracy, and loss_k and accuracy_k of scale k, from 1."""
    metrics = {"accuracy": result.accuracy.mean()}
    for k, (loss, accuracy) in enumerate(zip(result.per_scale, result.accuracy, strict=True), 1):
        metrics |= {f"loss_{k}": loss, f"accuracy_{k}": accuracy}
    return metrics
