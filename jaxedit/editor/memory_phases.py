"""What the memory plans of all families share: the phases of an edit, and shapes of weights."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import PretrainedConfig
from jaxedit.config.precision import dtype_of

Shape = jax.ShapeDtypeStruct
shapes_of = functools.lru_cache(8)(abstract_params)


class Phase(NamedTuple):
    """A part of an edit: bytes of the caches that are kept meanwhile, and what it needs beside."""

    name: str
    kept: int
    needs: int


class Phases(NamedTuple):
    """The parts of an edit, and how many rows of the transformer each picture takes."""

    rows: int
    parts: list[Phase]


def in_memory(
    networks: tree.Tree, config: PretrainedConfig, dtype: str, t5_dtype: str | None
) -> tree.Tree:
    """Shapes of networks {"transformer": ...} as they are in memory."""

    def one(path: str, leaf: Shape) -> Shape:
        return leaf.update(dtype=jnp.dtype(dtype_of(path, config.model_type, dtype, t5_dtype)))

    return tree.map_with_path(one, networks)
