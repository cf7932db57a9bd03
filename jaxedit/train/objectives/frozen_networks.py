"""Networks that a run needs and does not train, read from pretrained directories."""

import os
import re
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import EditARConfig, PretrainedConfig, ViTConfig, require
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.models.vit import seeded_teacher

BLOCK_KERNEL = re.compile(r"(?:t5|transformer)/(?:first_block|blocks)/(?:.*/)?kernel$")


def read_frozen(name: str, network: str, model: PretrainedConfig) -> tree.Tree:
    """Read one network whose settings must be those of the run.

    Args:
      name: see `ensure_converted`.
      network: for example "bsq"; also the name of its settings in `model`.
      model: the run's settings.

    Returns:
      {network: parameters, f32, that are read when they are placed on the devices}.

    Raises:
      ConfigError: weights of another config; says which settings differ.
      OSError: weights that are not there.
    """
    found, params, directory = open_params(ensure_converted(name), [network])
    require_same(found, model, network, directory)
    return tree.cast(params, "float32")


def require_same(
    found: PretrainedConfig,
    model: PretrainedConfig,
    part: str,
    directory: os.PathLike,
    own: Collection[str] = (),
) -> None:
    """Raise ConfigError unless a part of two models has the same settings, `own` ones apart."""
    there, here = vars(getattr(found, part)), vars(getattr(model, part))
    differ = [
        f"{k} is {there[k]} there, {here[k]} here"
        for k in there
        if k not in own and there[k] != here[k]
    ]
    require(not differ, f"{directory} has another {part}: {', '.join(differ)}")


def cast_block_kernels(networks: tree.Tree, dtype: str) -> tree.Tree:
    """Cast the kernels of blocks to the dtype of their products: half the size, same results.

    Args:
      networks: arrays, parameters in their files, or ShapeDtypeStructs by network.
      dtype: of the products in t5 and transformer.
    """

    def cast(path: str, leaf: Any) -> Any:
        if not BLOCK_KERNEL.match(path):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf.update(dtype=jnp.dtype(dtype))
        return leaf.astype(jnp.dtype(dtype))

    return tree.map_with_path(cast, networks)


def read_teacher(name: str, student: EditARConfig) -> tuple[ViTConfig, tree.Tree]:
    """Read sizes and weights of the teacher of that name or, without one, make random ones.

    Raises:
      ConfigError, OSError: there are no such weights, or they are of something else.
    """
    if not name:
        return seeded_teacher(student.distill_width, student.grid // 2)
    found, loaded, _ = open_params(ensure_converted(name), ["vit"])
    return found.vit, tree.cast(loaded["vit"], "float32")
