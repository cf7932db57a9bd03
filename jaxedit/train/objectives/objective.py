"""What a training run trains: the protocol that every model family's objective follows."""

from typing import NamedTuple, Protocol, Self

import jax
import numpy as np

from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.planning.flops import Forward
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
        """Return the operations of all that."""
        return self.times * (self.forward.weights + self.forward.scores)


class Objective(Protocol):
    """A system that can be trained: its parameters, its loss, what to show and what to keep."""

    @classmethod
    def from_config(cls, config: TrainConfig, *, is_abstract: bool = False) -> Self:
        """Return the objective of a run, with the networks that it does not train.

        Args:
          config: the run.
          is_abstract: have shapes in place of these networks' weights, and read nothing.

        Raises:
          ConfigError: settings or weights that do not fit.
          OSError: weights that are not there.
        """
        return cls(config)

    def init(self, key: jax.Array) -> Tree:
        """Make all trained parameters, f32."""

    def frozen(self) -> Tree:
        """Return arrays that the loss needs and that are not trained, an argument of the step.

        They are what `sharding.put` takes: numpy arrays, or parameters still in their files.
        """

    def loss(
        self,
        params: Tree,
        frozen: Tree,
        batch: EditBatch,
        key: jax.Array,
        step: jax.Array,
        *,
        is_training: bool = True,
    ) -> tuple[jax.Array, Metrics]:
        """Return (loss f32[], metrics by name) of one micro-batch.

        Metrics f32[] are averaged over the micro-batches; arrays [n, ...] are joined, and are for
        `after_update` to take out.

        Args:
          params: as `init` makes them.
          frozen: as `frozen` makes them.
          batch: B pairs.
          key: key[], for dropout and whatever else is drawn.
          step: i32[], finished steps.
          is_training: False: nothing is drawn (no dropout, no dropped conditions, no noise), rows
            that are not `valid` do not count, and there are more metrics.
        """

    def passes(self) -> list[Pass]:
        """Return every network that the loss runs on one pair of pictures, to count operations."""

    def activations(self, rows: int) -> int:
        """Estimate the bytes that loss and gradient of so many pairs need on the way.

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
        """Draw u8[rows, columns, H, W, 3]: one row an example, e.g. source, output, target."""

    def export(self, params: Tree, directory: str) -> None:
        """Write the weights and their config as a directory that `Editor` and others load."""
