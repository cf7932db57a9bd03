"""Parameter trees as flat dictionaries of '/'-paths, and the few operations done on them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Tree = dict[str, Any]


def flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict from path ("first_block/attn/qkv/kernel") to leaf."""
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, path + "/") if isinstance(value, dict) else {path: value}
    return flat


def unflatten(flat: dict[str, Any]) -> Tree:
    """The inverse of `flatten`."""
    tree: Tree = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def map_with_path(fn: Callable[[str, Any], Any], tree: Tree) -> Tree:
    """Apply `fn(path, leaf)` to every leaf."""
    return unflatten({path: fn(path, leaf) for path, leaf in flatten(tree).items()})


def count(tree: Any) -> int:
    """Number of scalars in all leaves (arrays or ShapeDtypeStructs)."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def cast(tree: Any, dtype: Any) -> Any:
    """Floating-point leaves as `dtype`; other leaves unchanged."""

    def to(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(to, tree)
