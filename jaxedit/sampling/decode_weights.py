"""The transformer's weights as the token loop reads them: one array per layer and matrix.

Cutting stacked weights inside a compiled program copies all of them, so they are cut once, outside.
"""

import dataclasses
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from jaxedit import tree
from jaxedit.config import EditARConfig
from jaxedit.models.editar import Null
from jaxedit.nn.kv_cache import ByHead, CacheLayout, Flat
from jaxedit.ops import low_rank
from jaxedit.ops.int8 import Int8, quantize
from jaxedit.tree import Tree


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Weights:
    """All parameters that decoding reads, a pytree.

    Attributes:
      embed: embeddings of image tokens.
      condition: parameters of the text's MLP, or embeddings of the classes.
      layers: parameters of an `EditARBlock` each.
      norm: scale of the last norm.
      head: kernel of the logits.
      null: constants that replace dropped conditions.
      layout: how caches lie in memory.
    """

    embed: Float[Array, "V D"]
    condition: Tree | Float[Array, "classes D"]
    layers: tuple[Tree, ...]
    norm: Float32[Array, " D"]
    head: Float[Array, "D V"]
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
    """Cut trained parameters to weights for decoding; call it once, outside `jit`.

    Args:
      config: sizes.
      transformer: parameters as trained, blocks stacked.
      null: constants of `Null`, by name.
      dtype: dtype of matrices and caches; norms and constants are f32.
      int8: turn the matrices of the layers into `Int8`.
      backend: cpu, gpu or tpu, which decides how caches lie in memory; None: the default backend.
    """

    def matrix(x: Any) -> jax.Array:
        return jnp.asarray(x, dtype)

    def parameter(path: str, leaf: Any) -> jax.Array | Int8:
        if not path.endswith("/kernel"):
            return jnp.asarray(leaf, jnp.float32)
        plain = matrix(low_rank.to_dense(leaf))
        return quantize(plain) if int8 else plain

    def layer(i: int) -> Tree:
        return tree.map_with_path(parameter, jax.tree.map(lambda x: x[i], transformer["blocks"]))

    is_class = config.prefix == "class"
    layout = Flat if (backend or jax.default_backend()) == "tpu" else ByHead
    return Weights(
        embed=matrix(transformer["embed"]),
        condition=jax.tree.map(matrix, transformer["class_embed" if is_class else "text"]),
        layers=tuple(layer(i) for i in range(config.layers)),
        norm=jnp.asarray(transformer["norm"]["scale"], jnp.float32),
        head=matrix(transformer["head"]["kernel"]),
        null=Null(**{name: jnp.asarray(x, jnp.float32) for name, x in null.items()}),
        layout=layout(config.head_width, jnp.dtype(dtype)),
    )
