"""The transformer's weights as the token loop reads them: one array per layer and matrix.

Cutting stacked weights inside a compiled program copies all of them, so it is done once, outside.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.config import EditARConfig
from jaxedit.models.editar import Null
from jaxedit.nn.kv_cache import ByHead, CacheLayout, Flat
from jaxedit.ops import low_rank
from jaxedit.ops.int8 import Int8, quantize
from jaxedit.tree import Tree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Weights:
    """All that decoding reads, a pytree.

    Attributes:
      embed: [V,D], of image tokens.
      condition: parameters of the text's MLP, or [classes+1,D].
      layers: parameters of one `EditARBlock` each.
      norm: f32[D].
      head: [D,V].
      null: constants that stand for dropped conditions; None for classes.
      layout: of the caches.
    """

    embed: jax.Array
    condition: Any
    layers: tuple[Tree, ...]
    norm: jax.Array
    head: jax.Array
    null: Null
    layout: CacheLayout


def unstack(
    config: EditARConfig,
    transformer: Tree,
    null: Tree,
    dtype: Any,
    *,
    int8: bool = False,
    backend: str | None = None,
) -> Weights:
    """Weights for decoding; to be called once, outside `jit`.

    Args:
      config: sizes.
      transformer: parameters as trained, blocks stacked.
      null: {"text", "image"} as far as the kind of prefix has them.
      dtype: of matrices and caches; norms and constants are f32.
      int8: the matrices of the layers become `Int8`.
      backend: cpu, gpu or tpu, which decides the layout of the caches; None: the default one.
    """

    def matrix(x: jax.Array) -> jax.Array:
        return jnp.asarray(x, dtype)

    def parameter(path: str, leaf: Any) -> jax.Array | Int8:
        if not path.endswith("/kernel"):
            return jnp.asarray(leaf, jnp.float32)
        plain = matrix(low_rank.to_dense(leaf))
        return quantize(plain) if int8 else plain

    def layer(i: int) -> Tree:
        return tree.map_with_path(parameter, jax.tree.map(lambda x: x[i], transformer["blocks"]))

    is_class = config.prefix == "class"
    return Weights(
        embed=matrix(transformer["embed"]),
        condition=jax.tree.map(matrix, transformer["class_embed" if is_class else "text"]),
        layers=tuple(layer(i) for i in range(config.layers)),
        norm=jnp.asarray(transformer["norm"]["scale"], jnp.float32),
        head=matrix(transformer["head"]["kernel"]),
        null=Null(**{name: jnp.asarray(x, jnp.float32) for name, x in null.items()}),
        layout=choose_layout(config, backend or jax.default_backend(), dtype),
    )


def choose_layout(config: EditARConfig, backend: str, dtype: Any) -> CacheLayout:
    """Return how caches of a dtype lie in memory on a backend: cpu, gpu or tpu."""
    layout = Flat if backend == "tpu" else ByHead
    return layout(config.head_width, jnp.dtype(dtype))
