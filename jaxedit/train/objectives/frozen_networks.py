"""Networks that a run reads from pretrained directories and does not train."""

import os
import re
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.pretrained import abstract_params, open_params
from jaxedit.config import (
    EditARConfig,
    EditARTrainConfig,
    PretrainedConfig,
    TrainConfig,
    VAREditTrainConfig,
    ViTConfig,
    require,
)
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.models.vit import seeded_teacher, small_teacher

BLOCK_KERNEL = re.compile(r"(?:t5|transformer)/(?:first_block|blocks)/(?:.*/)?kernel$")


def frozen_networks(
    config: TrainConfig,
    settings: VAREditTrainConfig | EditARTrainConfig,
    tokenizer: str,
    *,
    is_abstract: bool,
) -> tree.Tree:
    """Return {tokenizer: ...} and, if weights for it are given, {"t5": ...}, f32.

    Args:
      config: the run.
      settings: where the weights are; the tokenizer's are by default in `init_from`.
      tokenizer: name of the image tokenizer, "bsq" or "vq".
      is_abstract: return shapes and read no file.

    Raises:
      ConfigError: the weights belong to another config; the message lists the differences.
      OSError: weights are missing.
    """
    names = {tokenizer: settings.tokenizer or config.init_from}
    if settings.text_encoder:
        names["t5"] = settings.text_encoder
    if is_abstract:
        shapes = abstract_params(config.model)
        return {network: shapes[network] for network in names}
    found = {}
    for network, name in names.items():
        there, params, directory = open_params(ensure_converted(name), [network])
        require_same(there, config.model, network, directory)
        found |= tree.cast(params, "float32")
    return found


def require_same(
    found: PretrainedConfig,
    model: PretrainedConfig,
    part: str,
    directory: os.PathLike,
    own: Collection[str] = (),
) -> None:
    """Raise ConfigError unless a part of two models has the same settings, except for `own`."""
    there, here = vars(getattr(found, part)), vars(getattr(model, part))
    differ = [
        f"{k} is {there[k]} there, {here[k]} here"
        for k in there
        if k not in own and there[k] != here[k]
    ]
    require(not differ, f"{directory} has another {part}: {', '.join(differ)}")


def cast_block_kernels(networks: tree.Tree, dtype: str) -> tree.Tree:
    """Cast the blocks' kernels to the dtype of their products: half the size, same results.

    Args:
      networks: arrays, parameters in their files, or ShapeDtypeStructs.
      dtype: of the products in t5 and transformer.
    """

    def cast(path: str, leaf: Any) -> Any:
        if not BLOCK_KERNEL.match(path):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf.update(dtype=jnp.dtype(dtype))
        return leaf.astype(jnp.dtype(dtype))

    return tree.map_with_path(cast, networks)


def teacher_of(
    name: str, student: EditARConfig, *, is_abstract: bool
) -> tuple[ViTConfig, tree.Tree]:
    """Return sizes and weights of the teacher with this name; without a name it is random.

    With `is_abstract`, the weights are shapes and no file is read.

    Raises:
      ConfigError, OSError: the weights are missing, or of another kind.
    """
    side = student.grid // 2
    if is_abstract:
        sizes = ViTConfig() if name else small_teacher(student.distill_width, side)
        return sizes, abstract_params(PretrainedConfig(model_type="vit", vit=sizes))["vit"]
    if not name:
        return seeded_teacher(student.distill_width, side)
    found, loaded, _ = open_params(ensure_converted(name), ["vit"])
    return found.vit, tree.cast(loaded["vit"], "float32")
