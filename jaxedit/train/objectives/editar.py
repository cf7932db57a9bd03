"""Training of EditAR and LlamaGen: predict the codes of the target picture in sequence."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int32, Key, UInt8

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import abstract_params, load_pretrained
from jaxedit.config import TrainConfig, ViTConfig, require
from jaxedit.config.fields import check_fields
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch
from jaxedit.models.editar import EditAR, Null, init_null, left_pad
from jaxedit.models.vit import ViT
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.ops.teacher import teacher_pixels
from jaxedit.planning import activations, flops
from jaxedit.planning.flops import Forward
from jaxedit.sampling import sample_editar as sampling
from jaxedit.train import losses
from jaxedit.train.objectives.corruption import corrupt, draw_dropped, randomize_tokens
from jaxedit.train.objectives.frozen_networks import frozen_networks, teacher_of
from jaxedit.train.objectives.objective import (
    FROZEN,
    TRAINED,
    FrozenTokenizer,
    Metrics,
    Pass,
)
from jaxedit.train.objectives.transformer import TransformerObjective
from jaxedit.tree import Tree


class EditARObjective(TransformerObjective):
    """Next-token prediction of codes, with distillation of a teacher's features.

    Null conditions and teacher are frozen. Without a source picture (`prefix="text"`) this is
    LlamaGen: only the target and the text of a pair are read.

    Source: EditAR (Mu et al. 2025), section 3; LlamaGen (Sun et al. 2024), section 2.2.
    """

    TOKENIZER: ClassVar[str] = "vq"

    def __init__(self, config: TrainConfig, frozen: Tree, teacher: ViTConfig | None) -> None:
        """Check that all settings fit each other; see `TransformerObjective`.

        Args:
          config: the run.
          frozen: also holds {"null"} and, with a teacher, {"vit"}.
          teacher: sizes of the teacher.

        Raises:
          ConfigError: sizes do not fit.
        """
        check(config, teacher)
        super().__init__(config, frozen)
        self.settings = config.editar
        self.has_source = self.model.editar.prefix == "edit"
        self.transformer = EditAR(self.model.editar, self.dtype, config.remat, config.unroll)
        self.tokenizer = VQTokenizer(self.model.vq, precision=config.label_precision)
        self.teacher = ViT(teacher, self.dtype) if teacher else None

    @classmethod
    def from_config(cls, config: TrainConfig, *, is_abstract: bool = False) -> "EditARObjective":
        """See `Objective`."""
        settings, model = config.editar, config.model
        require(
            model.editar.distill_width > 0 or not settings.distill_weight,
            f"editar.distill_weight={settings.distill_weight}: expected 0 for distill_width=0",
        )
        frozen = frozen_networks(config, settings, "vq", is_abstract=is_abstract)
        frozen["null"] = abstract_params(model)["null"] if is_abstract else null_of(config)
        if not settings.distill_weight:
            return cls(config, frozen, None)
        teacher, vit = teacher_of(settings.teacher, model.editar, is_abstract=is_abstract)
        return cls(config, frozen | {"vit": vit}, teacher)

    def _loss(
        self, networks: Tree, batch: EditBatch, text: Array, key: Array, is_training: bool
    ) -> tuple[Array, Metrics]:
        settings, vocabulary = self.settings, self.model.editar.codes
        source, target = self.codes(networks["vq"], batch)
        is_random = jnp.zeros(len(target), bool)
        if settings.random_share and is_training:
            random_key, key = jax.random.split(key)
            share = settings.random_share
            source, target, is_random = randomize_tokens(
                random_key, source, target, share, vocabulary
            )
        seen = target
        if settings.spoilt_share and is_training:
            corrupt_key, key = jax.random.split(key)
            seen = corrupt(corrupt_key, source, target, settings.spoilt_share, vocabulary)
        hidden = self._predict(networks, batch, text, source, seen, key, is_training)
        kernel = networks["transformer"]["head"]["kernel"]
        result = losses.head_loss(hidden, kernel, target, batch.valid)
        metrics = {"ce": result.loss}
        metrics |= losses.token_accuracies(result.right, source, target, batch.valid)
        if not is_training:
            metrics |= losses.accuracy_by_quarter(result.right, batch.valid)
        if self.teacher is None:
            return result.loss, metrics
        variables = {"params": networks["transformer"]}
        student = self.transformer.apply(variables, hidden, method="align")
        features = self.teacher_features(networks["vit"], batch.target)
        # The picture does not show random codes: nothing to learn from its features.
        features = jnp.where(is_random[:, None, None], jax.lax.stop_gradient(student), features)
        metrics["distill"] = losses.distillation_loss(student, features, batch.valid)
        return result.loss + settings.distill_weight * metrics["distill"], metrics

    def passes(self) -> list[Pass]:
        """See `Objective`."""
        found = super().passes()
        if self.teacher is None:
            return found
        sizes = self.model.editar
        teacher = flops.vit(self.teacher.config, sizes.grid // 2)
        align = Pass("transformer", flops.align(sizes), TRAINED)
        return [*found, align, Pass("vit", teacher, FROZEN)]

    def frozen_tokenizer(self) -> FrozenTokenizer:
        """See `Objective`; only the teacher sees a picture."""
        return FrozenTokenizer(self.tokenizer, self._frozen["vq"], self.teacher is not None)

    def codes(
        self, vq: Tree, batch: EditBatch
    ) -> tuple[Int32[Array, "B N"] | None, Int32[Array, "B N"]]:
        """Return the codes of source (None without a source picture) and target.

        Unless the batch holds them, they are exact codes, computed in f32.
        """
        if batch.codes is not None:
            return batch.codes[:, 0] if self.has_source else None, batch.codes[:, 1]
        pictures = (batch.source, batch.target) if self.has_source else (batch.target,)
        grids = self.encode(vq, pictures, "codes")  # [B,n,h,w]
        codes = grids.reshape(*grids.shape[:2], -1)  # [B,n,N]
        return codes[:, 0] if self.has_source else None, codes[:, -1]

    def teacher_features(
        self, vit: Tree, target: UInt8[ArrayLike, "B H W 3"]
    ) -> Float[Array, "B n D"]:
        """Return the teacher's features of the pictures, a constant; n = N/4 patches."""
        size = self.teacher.config.patch * (self.model.editar.grid // 2)
        pixels = teacher_pixels(image.to_float(target), self.settings.teacher_view, size)
        hidden = self.teacher.apply({"params": vit}, pixels)[:, 1:]  # without the class token
        return jax.lax.stop_gradient(hidden)

    def _forward(self) -> Forward:
        return flops.editar(self.model.editar)

    def _saved(self, itemsize: int) -> int:
        return activations.editar_training(self.model.editar, itemsize, self.config.remat)

    def _edit(self, networks: Tree, batch: EditBatch, text: Array, seeds: np.ndarray) -> Array:
        networks = sampling.prepare(self.model, networks, self.config.dtype)
        source = sampling.NO_SOURCE
        if self.has_source:
            source = sampling.read_source(networks, batch.source, config=self.model)
        tokens = sampling.edit(
            networks,
            source,
            text[:, None],
            batch.text_mask[:, None],
            seeds,
            sample=self.model.token_sample,
            config=self.model,
            segment=self.model.editar.image_tokens,
        )
        return sampling.draw(networks.vq, tokens, config=self.model)

    def _predict(
        self,
        networks: Tree,
        batch: EditBatch,
        text: Float[Array, "B T D"],
        source: Int32[Array, "B N"] | None,
        target: Int32[Array, "B N"],
        key: Key[Array, ""],
        is_training: bool,
    ) -> Float[Array, "B N _"]:
        """Return the transformer's features of the target's codes, from all codes before."""
        drop_key, dropout_key = jax.random.split(key)
        dropped = draw_dropped(drop_key, len(target), self.settings.drop if is_training else 0.0)
        mask = None
        if source is None:
            text, mask = left_pad(text, batch.text_mask)
        return self.transformer.apply(
            {"params": networks["transformer"]},
            text,
            target,
            null=Null(networks["null"]["text"], networks["null"].get("image")),
            source=source,
            text_mask=mask,
            drop_text=dropped.text,
            drop_image=None if source is None else dropped.image,
            deterministic=not is_training,
            rngs={"dropout": dropout_key},
            method="hidden",
        )


def null_of(config: TrainConfig) -> Tree:
    """Return the null conditions {"text", "image"} of `init_from`; random if it lacks them."""
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
