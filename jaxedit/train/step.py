"""One training step: micro-batches, gradients, AdamW and the moving average."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxedit import rng
from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.sharding import rules
from jaxedit.train.objectives.objective import Metrics, Objective
from jaxedit.train.optim import learning_rate, make_optimizer
from jaxedit.tree import Tree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that changes during training; arrays only."""

    step: jax.Array  # i32[], finished steps
    params: Tree
    opt_state: Any
    ema_params: Tree  # empty when ema_decay is 0

    @property
    def eval_params(self) -> Tree:
        """Return what is drawn, evaluated and exported: the moving average, if there is one."""
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

        def loss(params: Tree, micro: EditBatch, key: jax.Array) -> tuple[jax.Array, Metrics]:
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
    """Return the compiled training step; it uses up the state that it is given."""
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
    key: jax.Array,
    parts: int,
) -> tuple[Tree, Metrics]:
    """Return gradient and metrics of the mean loss over `parts` micro-batches, one by one.

    Metrics that are arrays with rows are joined instead, in the order of the micro-batches.

    Args:
      loss: (params, micro-batch, key) -> (loss, metrics).
      params: the parameters.
      batch: leaves [B, ...], B divisible by `parts`; micro-batch i has rows i, i + parts, ... so
        that each device keeps its own rows.
      key: key[], split between the micro-batches.
      parts: number of micro-batches.

    Returns:
      (gradients like params, metrics with "loss").
    """

    def one(micro: EditBatch, key: jax.Array) -> tuple[Tree, Metrics]:
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, micro, key)
        return grads, metrics | {"loss": value}

    if parts == 1:
        return one(batch, key)

    def split(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 1, 0)

    def parted(micro: EditBatch, key: jax.Array) -> tuple[tuple[Tree, Metrics], Metrics]:
        grads, metrics = one(micro, key)
        scalars = {name: value for name, value in metrics.items() if value.ndim == 0}
        rows = {name: value for name, value in metrics.items() if value.ndim}
        return (grads, scalars), rows

    def add(total: Any, xs: tuple[EditBatch, jax.Array]) -> tuple[Any, Metrics]:
        value, rows = parted(*xs)
        return jax.tree.map(jnp.add, total, value), rows

    xs = (jax.tree.map(split, batch), jax.random.split(key, parts))
    shapes, _ = jax.eval_shape(parted, *jax.tree.map(lambda x: x[0], xs))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, rows = jax.lax.scan(add, zeros, xs)
    grads, metrics = jax.tree.map(lambda x: x / parts, total)
    return grads, metrics | {name: x.reshape(-1, *x.shape[2:]) for name, x in rows.items()}


def moving_average(average: Tree, params: Tree, decay: float, step: jax.Array) -> Tree:
    """Move `average` towards `params`; the decay rises as (1 + step) / (10 + step) at first."""
    if not decay:
        return {}
    keep = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + (1 - keep) * (p - a), average, params)
