"""The first state of a run: random, pretrained, or restored from a checkpoint."""

import dataclasses
import logging
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxedit import tree
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.checkpoints.train_state import Checkpoints
from jaxedit.config import TrainConfig, require, to_dict
from jaxedit.config.families import FAMILIES
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.sharding import distributed, rules
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.optim import make_optimizer
from jaxedit.train.step import TrainState, init_state

# EditAR begins with LlamaGen's weights, which have no head for the teacher's features.
OPTIONAL = re.compile("transformer/align/")

log = logging.getLogger(__name__)


def initial_state(
    config: TrainConfig, objective: Objective, checkpoints: Checkpoints, mesh: Mesh
) -> TrainState:
    """Restore the newest checkpoint or, in a new workdir, make a state; sharded over the mesh.

    A new state has the weights of `init_from`, or else random parameters.

    Raises:
      ConfigError: there is a checkpoint and `resume` is "never", or it does not fit the config.
    """
    optimizer = make_optimizer(config.optim, config.steps)

    def init() -> TrainState:
        return init_state(objective, optimizer, config)

    abstract = jax.eval_shape(init)
    layout = rules.state_shardings(abstract, mesh)
    log.info("%s trained parameters", f"{tree.count(abstract.params):,}")
    step = checkpoints.latest()
    distributed.assert_same_on_all_hosts(
        {"the newest checkpoint (is --workdir shared by all hosts?)": step}
    )
    if step is None:
        state = jax.jit(init, out_shardings=layout)()
        is_warm = config.init_from and not config.lora.rank  # LoRA's weights are frozen
        return warm_start(state, config.init_from) if is_warm else state
    require(
        config.resume == "auto",
        f"{checkpoints.directory} has a checkpoint of step {step} and resume='never': "
        "choose another --workdir or --config.resume=auto",
    )
    show_difference(checkpoints.config(step), to_dict(config))
    log.info("resuming after step %d", step)
    return checkpoints.restore(step, rules.with_shardings(abstract, layout))


def warm_start(state: TrainState, name: str) -> TrainState:
    """Replace the parameters (and the average) of a new state by pretrained weights.

    Each process reads only the slices that its devices hold, one array after another. Networks that
    no pretrained directory holds, such as a discriminator, stay as they are, and so do `OPTIONAL`
    parameters that the weights lack.

    Args:
      state: of a new run; its arrays are deleted when they are replaced.
      name: of the weights, see `ensure_converted`.

    Raises:
      ConfigError: shapes differ; the message lists all of them.
      ValueError: a file is damaged or a weight is not finite.
      OSError: weights are missing.
    """
    known = {network for family in FAMILIES for network in family.networks}
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


def shape_of(flat: dict[str, Any], path: str) -> tuple[int, ...] | None:
    """Return the shape of the array at `path`, None if there is none."""
    return flat[path].shape if path in flat else None


def flat_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a config as one dict by options of the command: --config.x.y."""
    flat = tree.flatten(config)
    return {f"--config.{path.replace('/', '.')}": value for path, value in flat.items()}


def show_difference(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Log every setting that differs from the checkpoint's config."""
    old, new = flat_settings(saved), flat_settings(now)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            log.info("%s was %r, is %r", name, old.get(name), new.get(name))
