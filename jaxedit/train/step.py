"""One training step: micro-batches, gradients, AdamW, the moving average; and what it trains."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxedit import rng
from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.planning.flops import Forward
from jaxedit.train.optim import learning_rate
from jaxedit.tree import Tree

Metrics = dict[str, jax.Array]

# How often a forward pass counts: with frozen weights alone; with the gradient of its input, which
# passes through frozen weights; and with the gradient of the weights as well.
FROZEN, THROUGH, TRAINED = 1, 2, 3


class Pass(NamedTuple):
    """A network that a loss runs on one pair of pictures.

    network: its name; forward: operations of its forward pass; times: `FROZEN`, `THROUGH` or
    `TRAINED`, times the pictures.
    """

    network: str
    forward: Forward
    times: int

    @property
    def flops(self) -> float:
        """Operations of all that."""
        return self.times * (self.forward.weights + self.forward.scores)


class Objective(Protocol):
    """A system that can be trained: its parameters, its loss, what to show and what to keep."""

    def init(self, key: jax.Array) -> Tree:
        """All trained parameters, f32."""

    def frozen(self) -> Tree:
        """Arrays that the loss needs and that are not trained, an argument of the step.

        They are what `sharding.put` takes: numpy arrays, or parameters still in their files.
        """

    def loss(
        self, params: Tree, frozen: Tree, batch: EditBatch, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """(loss f32[], metrics by name) of one micro-batch.

        Metrics f32[] are averaged over the micro-batches; arrays [n, ...] are joined, and are for
        `after_update` to take out.
        """

    def passes(self) -> list[Pass]:
        """Every network that the loss runs on one pair of pictures, for the count of operations."""

    def activations(self, rows: int) -> int:
        """Bytes that loss and gradient of so many pairs need on the way: an estimate.

        Parameters, frozen networks and gradients are not counted.
        """

    def after_update(
        self, params: Tree, average: Tree, metrics: Metrics, key: jax.Array, step: jax.Array
    ) -> tuple[Tree, Tree, Metrics]:
        """Change by hand what no gradient changes, after the optimiser; nothing unless overridden.

        Args:
          params: after the update.
          average: their moving average, empty if there is none.
          metrics: of the whole batch, as `loss` made them.
          key: key[] of this step.
          step: i32[], finished steps before this one.

        Returns:
          params, average, and metrics f32[] only.
        """
        return params, average, metrics

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch, key: jax.Array
    ) -> np.ndarray:
        """u8[rows, columns, H, W, 3]: one row an example, e.g. source, output, target."""

    def export(self, params: Tree, directory: str) -> None:
        """Write the weights and their config as a directory that `Editor` and others load."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that changes during training; arrays only."""

    step: jax.Array  # i32[], finished steps
    params: Tree
    opt_state: Any
    ema_params: Tree  # empty when ema_decay is 0

    @property
    def best_params(self) -> Tree:
        """The averaged parameters where they exist, else the current ones."""
        return self.ema_params or self.params


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, config: TrainConfig
) -> TrainState:
    """The state before the first step; a pure function, for `jit` and `eval_shape`."""
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
    """The pure function (state, frozen, batch) -> (state after, metrics of this step)."""

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


def accumulate(
    loss: Callable[[Tree, EditBatch, jax.Array], tuple[jax.Array, Metrics]],
    params: Tree,
    batch: EditBatch,
    key: jax.Array,
    parts: int,
) -> tuple[Tree, Metrics]:
    """Gradient and metrics of the mean loss over `parts` micro-batches, one after the other.

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
    """`average` moved towards `params`; the decay rises as (1 + step) / (10 + step) at first."""
    if not decay:
        return {}
    keep = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + (1 - keep) * (p - a), average, params)
