"""EditAR and LlamaGen as an objective: predict the codes of the target picture one by one."""

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import abstract_params, load_pretrained, save_pretrained
from jaxedit.config import PretrainedConfig, TrainConfig, ViTConfig, require
from jaxedit.config.fields import check_fields
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch
from jaxedit.models.editar import EditAR, Null, init_null, init_params, left_pad
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.vit import ViT, small_teacher
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.ops.teacher import teacher_pixels
from jaxedit.planning import activations, flops
from jaxedit.sampling import sample_editar as sampling
from jaxedit.sampling.text_encoder import encode_text
from jaxedit.sharding.rules import to_host
from jaxedit.train.losses import (
    accuracy_by_quarter,
    distillation_loss,
    head_loss,
    token_accuracies,
)
from jaxedit.train.objectives.corruption import corrupt, draw_dropped, randomize_tokens
from jaxedit.train.objectives.frozen_networks import cast_block_kernels, read_frozen, read_teacher
from jaxedit.train.objectives.objective import FROZEN, TRAINED, Metrics, Objective, Pass
from jaxedit.tree import Tree


class EditARObjective(Objective):
    """Trains {"transformer": ...} and, unless weights for it are given, the text encoder {"t5"}.

    The image tokenizer, the null conditions and the teacher are frozen. Without a source picture
    (`prefix="text"`) this is LlamaGen: only the target and the text of a pair count.

    Source: EditAR (Mu et al. 2025), section 3; LlamaGen (Sun et al. 2024), section 2.2.
    """

    def __init__(self, config: TrainConfig, frozen: Tree, teacher: ViTConfig | None) -> None:
        """Check that all settings fit each other.

        Args:
          config: the run.
          frozen: the networks that are not trained, as `load_frozen` reads them.
          teacher: sizes of the network whose features are predicted, from there too.

        Raises:
          ConfigError: sizes that do not fit.
        """
        self.config, self.settings = config, config.editar
        self.model: PretrainedConfig = config.model
        check(config, teacher)
        dtype = jnp.dtype(config.dtype)
        self.transformer = EditAR(self.model.editar, dtype, config.remat, config.unroll)
        self.text_encoder = T5Encoder(self.model.t5, dtype)
        self.tokenizer = VQTokenizer(self.model.vq, precision=config.label_precision)
        self.teacher = ViT(teacher, dtype) if teacher else None
        self._frozen = frozen

    @classmethod
    def from_config(cls, config: TrainConfig, *, is_abstract: bool = False) -> Self:
        """See `Objective`."""
        frozen = abstract_frozen if is_abstract else load_frozen
        return cls(config, *frozen(config))

    def init(self, key: jax.Array) -> Tree:
        """Make all trained parameters, f32."""
        transformer_key, text_key = jax.random.split(key)
        params = {"transformer": init_params(self.model.editar, transformer_key)}
        if "t5" not in self._frozen:
            ids = jnp.zeros((1, 2), jnp.int32)
            params["t5"] = self.text_encoder.init(text_key, ids, ids == 0)["params"]
        return params

    def frozen(self) -> Tree:
        """Return {"vq", "null"}, {"t5"} if it is not trained, {"vit"} if features are predicted."""
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
        """Return the cross-entropy of the target's codes, with the distance to the teacher added.

        Args:
          params: as `init` makes them.
          frozen: as `frozen` makes them.
          batch: B pairs.
          key: key[], for dropped conditions and for dropout.
          step: i32[], not used.
          is_training: whether codes are disturbed, conditions dropped and dropout on.

        Returns:
          loss f32[], metrics f32[].
        """
        source, target = self.codes(frozen["vq"], batch)
        is_random = jnp.zeros(len(target), bool)
        if self.settings.random_share and is_training:
            random_key, key = jax.random.split(key)
            share, codes = self.settings.random_share, self.model.editar.codes
            source, target, is_random = randomize_tokens(random_key, source, target, share, codes)
        seen = target
        if self.settings.spoilt_share and is_training:
            spoil_key, key = jax.random.split(key)
            share, codes = self.settings.spoilt_share, self.model.editar.codes
            seen = corrupt(spoil_key, source, target, share, codes)
        hidden = self._predict(frozen | params, batch, (source, seen), key, is_training)
        kernel = params["transformer"]["head"]["kernel"]
        result = head_loss(hidden, kernel, target, batch.valid)
        metrics = {"ce": result.loss, **token_accuracies(result.right, source, target, batch.valid)}
        if not is_training:
            metrics |= accuracy_by_quarter(result.right, batch.valid)
        if self.teacher is None:
            return result.loss, metrics
        variables = {"params": params["transformer"]}
        student = self.transformer.apply(variables, hidden, method="align")
        features = self.teacher_features(frozen["vit"], batch.target)
        features = jnp.where(is_random[:, None, None], jax.lax.stop_gradient(student), features)
        metrics["distill"] = distillation_loss(student, features, batch.valid)
        return result.loss + self.settings.distill_weight * metrics["distill"], metrics

    def passes(self) -> list[Pass]:
        """Return pictures through the tokenizer, text, transformer, and perhaps a teacher."""
        model = self.model
        picture = flops.image_encoder(model.vq, self.config.data.image_size)
        pictures = 2 if model.editar.prefix == "edit" else 1
        text = FROZEN if "t5" in self._frozen else TRAINED
        found = [
            Pass("vq", picture, pictures * FROZEN),
            Pass("t5", flops.t5(model.t5, model.editar.text_tokens), text),
            Pass("transformer", flops.editar(model.editar), TRAINED),
        ]
        if self.teacher is None:
            return found
        teacher = flops.vit(self.teacher.config, model.editar.grid // 2)
        align = Pass("transformer", flops.align(model.editar), TRAINED)
        return [*found, align, Pass("vit", teacher, FROZEN)]

    def activations(self, rows: int) -> int:
        """Return the larger of reading the pictures and the transformer, see `Objective`."""
        model, itemsize = self.model, jnp.dtype(self.config.dtype).itemsize
        pictures = 2 if model.editar.prefix == "edit" else 1
        reading = pictures * activations.image_encoder(model.vq, self.config.data.image_size)
        predicting = activations.editar_training(model.editar, itemsize, self.config.remat)
        if "t5" not in self._frozen:
            predicting += activations.t5_training(model.t5, model.editar.text_tokens, itemsize)
        return rows * max(reading, predicting)

    def codes(self, vq: Tree, batch: EditBatch) -> tuple[jax.Array | None, jax.Array]:
        """Encode source (None without one) and target: codes i32[B,N] each; exact, in f32.

        Args:
          vq: the image tokenizer's parameters.
          batch: B pairs.
        """
        has_source = self.model.editar.prefix == "edit"
        pictures = (batch.source, batch.target) if has_source else (batch.target,)
        pixels = image.to_float(
            jnp.stack(pictures, axis=1)
        )  # side by side: devices keep their rows
        B, n = pixels.shape[:2]
        pixels = pixels.reshape(B * n, *pixels.shape[2:])
        codes = self.tokenizer.apply({"params": vq}, pixels, method="codes")
        codes = jax.lax.stop_gradient(codes.reshape(B, n, -1))  # [B,n,N]
        return codes[:, 0] if has_source else None, codes[:, -1]

    def teacher_features(self, vit: Tree, target: jax.Array) -> jax.Array:
        """Return the teacher's features of pictures u8[B,H,W,3]: f32[B,N/4,dt], a constant."""
        size = self.teacher.config.patch * (self.model.editar.grid // 2)
        pixels = teacher_pixels(image.to_float(target), self.settings.teacher_view, size)
        hidden = self.teacher.apply({"params": vit}, pixels)[:, 1:]  # without the class token
        return jax.lax.stop_gradient(hidden)

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch, key: jax.Array
    ) -> np.ndarray:
        """Draw u8[rows,3,H,W,3]: source, sampled edit, target; the same noise at every step."""
        text = encode_text(
            *((frozen | params)["t5"], batch.text_ids, batch.text_mask),
            config=self.model.t5,
            dtype=self.config.dtype,
        )
        networks = sampling.prepare(self.model, frozen | params, self.config.dtype)
        source = sampling.NO_SOURCE
        if self.model.editar.prefix == "edit":
            source = sampling.read_source(networks, batch.source, config=self.model)
        seeds = np.full(len(batch.source), self.config.seed, np.int32)
        tokens = sampling.edit(
            *(networks, source, text[:, None], batch.text_mask[:, None], seeds),
            sample=self.model.token_sample,
            config=self.model,
            segment=self.model.editar.image_tokens,
        )
        output = sampling.draw(networks.vq, tokens, config=self.model)
        return to_host(jnp.stack([batch.source, output, batch.target], axis=1))

    def export(self, params: Tree, directory: str) -> None:
        """Write a pretrained directory for `Editor`: all networks but the teacher."""
        networks = {name: tree for name, tree in self._frozen.items() if name != "vit"} | params
        save_pretrained(
            *(directory, self.model, networks, self.config.text_tokenizer),
            dtype=self.config.export_dtype,
        )

    def _predict(
        self,
        networks: Tree,
        batch: EditBatch,
        codes: tuple[jax.Array | None, jax.Array],
        key: jax.Array,
        is_training: bool,
    ) -> jax.Array:
        drop_key, dropout_key = jax.random.split(key)
        source, target = codes
        dropped = draw_dropped(drop_key, len(target), self.settings.drop if is_training else 0.0)
        text, mask = batch.text_ids, batch.text_mask
        text = self.text_encoder.apply({"params": networks["t5"]}, text, mask)
        if source is None:
            text, mask = left_pad(text, mask)
        return self.transformer.apply(
            {"params": networks["transformer"]},
            *(text, target),
            null=Null(networks["null"]["text"], networks["null"].get("image")),
            source=source,
            text_mask=None if source is not None else mask,
            drop_text=dropped.text,
            drop_image=None if source is None else dropped.image,
            deterministic=not is_training,
            rngs={"dropout": dropout_key},
            method="hidden",
        )


def load_frozen(config: TrainConfig) -> tuple[Tree, ViTConfig | None]:
    """Read the networks that are not trained, f32: see `EditARObjective.frozen`.

    Returns:
      (the networks, the teacher's sizes or None).

    Raises:
      ConfigError: weights of another config.
      OSError: weights that are not there.
    """
    settings, model = config.editar, config.model
    require(
        model.editar.distill_width > 0 or not settings.distill_weight,
        f"editar.distill_weight={settings.distill_weight}: expected 0 for distill_width=0",
    )
    tokenizer = settings.tokenizer or config.init_from
    frozen = read_frozen(tokenizer, "vq", model) | {"null": null_conditions(config)}
    if settings.text_encoder:
        frozen |= read_frozen(settings.text_encoder, "t5", model)
    if not settings.distill_weight:
        return frozen, None
    sizes, vit = read_teacher(settings.teacher, model.editar)
    return frozen | {"vit": vit}, sizes


def abstract_frozen(config: TrainConfig) -> tuple[Tree, ViTConfig | None]:
    """Return what `load_frozen` does, with shapes in place of the weights; nothing is read."""
    settings, model = config.editar, config.model
    names = ("vq", "null", "t5") if settings.text_encoder else ("vq", "null")
    shapes = abstract_params(model)
    frozen = {name: shapes[name] for name in names}
    if not settings.distill_weight:
        return frozen, None
    small = small_teacher(model.editar.distill_width, model.editar.grid // 2)
    teacher = ViTConfig() if settings.teacher else small
    return frozen | abstract_params(PretrainedConfig(model_type="vit", vit=teacher)), teacher


def null_conditions(config: TrainConfig) -> Tree:
    """Return {"text", "image"} of `init_from`, and random constants for what it has not."""
    fresh = init_null(config.model.editar, rng.key_for(config.seed, "null"))
    made = jax.tree.map(np.asarray, fresh)
    if not config.init_from:
        return made
    _, loaded, directory = load_pretrained(ensure_converted(config.init_from), ["null"])
    found = tree.cast(loaded["null"], "float32")
    for name in found.keys() & made.keys():
        there, here = found[name].shape, made[name].shape
        require(there == here, f"{directory}: null/{name} is {there} there, {here} here")
    return made | {name: x for name, x in found.items() if name in made}


def check(config: TrainConfig, teacher: ViTConfig | None) -> None:
    """Raise ConfigError unless data, tokenizer, transformer and teacher fit each other."""
    model, data, settings = config.model.editar, config.data, config.editar
    side = model.grid * config.model.vq.stride
    require(
        side == data.image_size,
        f"data.image_size={data.image_size}: editar.grid={model.grid} is {side}x{side} pixels",
    )
    require(
        model.prefix != "class", "editar.prefix='class': training takes text, with 'edit' or 'text'"
    )
    require(
        data.text_tokens == model.text_tokens,
        f"data.text_tokens={data.text_tokens}: expected editar.text_tokens={model.text_tokens}",
    )
    check_fields(settings, "editar")
    require(
        model.prefix == "edit" or not settings.random_share,
        f"editar.random_share={settings.random_share}: expected 0 without a source picture",
    )
    require(settings.drop <= 1 / 3, f"editar.drop={settings.drop}: expected 0 <= value <= 1/3")
    width = teacher.width if teacher else model.distill_width
    require(
        width == model.distill_width,
        f"editar.distill_width={model.distill_width}: the teacher's features have {width}",
    )
