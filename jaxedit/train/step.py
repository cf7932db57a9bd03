"""A training step: micro-batches, gradients, AdamW and the moving average."""

import dataclasses
from collections.abc import Callable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Int32, Key, Shaped

from jaxedit import rng
from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.sharding import rules
from jaxedit.train.objectives.objective import Metrics, Objective
from jaxedit.train.optim import learning_rate, make_optimizer
from jaxedit.tree import Tree


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that changes during training; arrays only."""

    step: Int32[Array, ""]  # number of finished steps
    params: Tree
    opt_state: Any
    ema_params: Tree  # empty when ema_decay is 0

    @property
    def eval_params(self) -> Tree:
        """Return the parameters to evaluate and export: the moving average, if there is one."""
        return self.ema_params or self.params


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, config: TrainConfig
) -> TrainState:
    """Make the state before the first step; a pure function, for `jit` and `eval_shape`."""
    params = objective.init(rng.key_for(config.seed, "init"))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if config.ema_decay else {},
    )


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation, config: TrainConfig
) -> Callable[[TrainState, Tree, EditBatch], tuple[TrainState, Metrics]]:
    """Return the pure function (state, frozen, batch) -> (state after, metrics of this step)."""

    def train_step(state: TrainState, frozen: Tree, batch: EditBatch) -> tuple[TrainState, Metrics]:
        key = rng.key_for(config.seed, "loss", state.step)

        def loss(
            params: Tree, micro: EditBatch, key: Key[Array, ""]
        ) -> tuple[Float[Array, ""], Metrics]:
            return objective.loss(params, frozen, micro, key, state.step)

        grads, metrics = accumulate(loss, state.params, batch, key, config.optim.accumulate)
        rate = learning_rate(config.optim, config.steps)(state.step)
        metrics |= {"grad_norm": optax.tree.norm(grads), "lr": rate}
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = moving_average(state.ema_params, params, config.ema_decay, state.step)
        key = rng.key_for(config.seed, "after_update", state.step)
        params, average, metrics = objective.after_update(params, average, metrics, key, state.step)
        after = TrainState(
            step=state.step + 1, params=params, opt_state=opt_state, ema_params=average
        )
        return after, metrics

    return train_step


def jit_step(
    config: TrainConfig, objective: Objective, state: TrainState, frozen: Tree, mesh: Mesh
) -> Callable[[TrainState, Tree, EditBatch], tuple[TrainState, Metrics]]:
    """Return the jitted training step, which donates the state that it gets."""
    step = make_step(objective, make_optimizer(config.optim, config.steps), config)
    layout, frozen_layout = jax.tree.map(lambda x: x.sharding, (state, frozen))
    return jax.jit(
        step,
        in_shardings=(layout, frozen_layout, rules.batch_sharding(mesh)),
        out_shardings=(layout, rules.replicated(mesh)),
        donate_argnums=0,
    )


def accumulate(
    loss: Callable[[Tree, EditBatch, jax.Array], tuple[jax.Array, Metrics]],
    params: Tree,
    batch: EditBatch,
    key: Key[Array, ""],
    parts: int,
) -> tuple[Tree, Metrics]:
    """Return gradients and metrics of the mean loss over `parts` micro-batches, in sequence.

    Micro-batch i has the rows i, i + parts, ..., so that each device keeps its own rows. Scalar
    metrics are averaged; metrics with rows are concatenated in the order of the micro-batches.

    Args:
      loss: (params, micro-batch, key) -> (loss, metrics).
      params: the parameters.
      batch: B rows; `parts` divides B.
      key: split between the micro-batches.
      parts: number of micro-batches.

    Returns:
      The gradients, and the metrics with "loss".
    """

    def gradient(micro: EditBatch, key: Key[Array, ""]) -> tuple[Tree, Metrics]:
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, micro, key)
        return grads, metrics | {"loss": value}

    if parts == 1:
        return gradient(batch, key)

    def split(x: Shaped[Array, "B ..."]) -> Shaped[Array, "parts _ ..."]:
        return jnp.moveaxis(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 1, 0)

    def summed_and_joined(micro: EditBatch, key: Key[Array, ""]) -> tuple[Any, Metrics]:
        grads, metrics = gradient(micro, key)
        scalars = {name: value for name, value in metrics.items() if value.ndim == 0}
        rows = {name: value for name, value in metrics.items() if value.ndim}
        return (grads, scalars), rows

    def add(total: Any, xs: tuple[EditBatch, jax.Array]) -> tuple[Any, Metrics]:
        value, rows = summed_and_joined(*xs)
        return jax.tree.map(jnp.add, total, value), rows

    xs = (jax.tree.map(split, batch), jax.random.split(key, parts))
    shapes, _ = jax.eval_shape(summed_and_joined, *jax.tree.map(lambda x: x[0], xs))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, rows = jax.lax.scan(add, zeros, xs)
    grads, metrics = jax.tree.map(lambda x: x / parts, total)
    return grads, metrics | {name: x.reshape(-1, *x.shape[2:]) for name, x in rows.items()}


def moving_average(average: Tree, params: Tree, decay: float, step: Int[Array, ""]) -> Tree:
    """Move `average` towards `params`; the decay rises from 1/10 as (1 + step) / (10 + step)."""
    if not decay:
        return {}
    keep = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + (1 - keep) * (p - a), average, params)
