"""Parameter trees: conversion to flat dictionaries of "/"-paths, and operations on all leaves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

Tree = dict[str, Any]


def flatten(tree: Tree) -> dict[str, Any]:
    """Return nested dicts as one dict from path ("first_block/attn/qkv/kernel") to leaf."""
    return traverse_util.flatten_dict(tree, sep="/")


def unflatten(flat: dict[str, Any]) -> Tree:
    """Return the nested dicts that `flatten` gives as `flat`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def map_with_path(fn: Callable[[str, Any], Any], tree: Tree) -> Tree:
    """Apply `fn(path, leaf)` to every leaf."""
    return unflatten({path: fn(path, leaf) for path, leaf in flatten(tree).items()})


def count(tree: Any) -> int:
    """Count the scalars in all leaves (arrays or ShapeDtypeStructs)."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def cast(tree: Any, dtype: Any) -> Any:
    """Convert floating-point leaves to `dtype`; other leaves stay unchanged."""

    def to(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(to, tree)
