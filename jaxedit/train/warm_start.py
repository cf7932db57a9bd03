"""Begin a run with the weights of another one."""

import dataclasses
import logging
import re

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.networks import NETWORKS
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import require
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.sharding import rules
from jaxedit.train.step import TrainState

# EditAR begins with LlamaGen's weights, which have no head for the teacher's features.
OPTIONAL = re.compile("transformer/align/")

log = logging.getLogger(__name__)


def warm_start(state: TrainState, name: str) -> TrainState:
    """Replace the parameters (and their average) of a new run by pretrained ones.

    Each process reads only the slices that its devices hold, one array after another. Networks that
    no pretrained directory holds, such as a discriminator, stay as they are, and so do `OPTIONAL`
    parameters that the weights lack.

    Args:
      state: a new run's state; its arrays are given back as they are replaced.
      name: of the weights, see `ensure_converted`.

    Raises:
      ConfigError: shapes differ; all of them are listed.
      ValueError: a file is damaged or a weight is not finite.
      OSError: there are no such weights.
    """
    known = {network for networks in NETWORKS.values() for network in networks}
    wanted = [network for network in state.params if network in known]
    _, loaded, directory = open_params(ensure_converted(name), wanted)
    new, old = tree.flatten(loaded), tree.flatten({n: state.params[n] for n in wanted})
    differ = [
        f"{path}: {shape_of(new, path)} there, {shape_of(old, path)} here"
        for path in sorted(new.keys() | old.keys())
        if shape_of(new, path) != shape_of(old, path)
        and not (path not in new and OPTIONAL.match(path))
    ]
    require(not differ, f"init_from={name!r} does not fit this config:\n  " + "\n  ".join(differ))

    def read(path: str, leaf: jax.Array) -> jax.Array:
        if path not in new:
            return leaf
        dtype, layout = leaf.dtype, leaf.sharding
        leaf.delete()  # there may be no room for both
        return rules.put(new[path].astype(dtype), layout)

    def copy(path: str, leaf: jax.Array) -> jax.Array:
        if path not in new:
            return leaf
        leaf.delete()
        return jnp.copy(placed[path])

    log.info("starting from the weights in %s", directory)
    params = tree.map_with_path(read, state.params)
    placed = tree.flatten(params)
    average = tree.map_with_path(copy, state.ema_params)
    return dataclasses.replace(state, params=params, ema_params=average)


def shape_of(flat: dict[str, jax.Array], path: str) -> tuple[int, ...] | None:
    """Shape of the array at `path`, None if there is none."""
    return flat[path].shape if path in flat else None
