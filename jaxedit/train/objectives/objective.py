"""The interface of training objectives: what a run trains, by which loss, and what it exports."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, UInt8

from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.models.vq import VQTokenizer
from jaxedit.planning.flops import Forward
from jaxedit.tree import Tree

Metrics = dict[str, Array]

# Operations of a network in a training step, in forward passes: with frozen weights; with the
# gradient of its input as well, through frozen weights; and with the gradient of its weights too.
FROZEN, THROUGH, TRAINED = 1, 2, 3


class Pass(NamedTuple):
    """A network that the loss runs on a pair of pictures."""

    network: str
    forward: Forward
    times: int  # FROZEN, THROUGH or TRAINED, times the number of pictures

    @property
    def flops(self) -> float:
        """Return the floating-point operations of this network for a pair."""
        return self.times * (self.forward.weights + self.forward.scores)


class FrozenTokenizer(NamedTuple):
    """A VQ tokenizer whose codes the loss reads; a store may hold them."""

    module: VQTokenizer
    params: Tree  # arrays, or parameters in their files
    needs_pictures: bool  # whether the loss reads pictures for another purpose as well


class Objective:
    """A model with its loss: trained parameters, frozen networks, sample grids and export.

    Attributes:
      columns: what each column of `sample_grid` shows.
    """

    columns: tuple[str, ...]
    has_stored_codes = False  # whether batches of training hold codes, so that nothing is encoded

    @classmethod
    def from_config(cls, config: TrainConfig, *, is_abstract: bool = False) -> "Objective":
        """Return the objective of a run, with the networks that it does not train.

        Args:
          config: the run.
          is_abstract: hold shapes in place of the weights of frozen networks, and read no file.

        Raises:
          ConfigError: settings or weights do not fit each other.
          OSError: weights are missing.
        """
        return cls(config)

    def init(self, key: Key[Array, ""]) -> Tree:
        """Make all trained parameters, f32."""

    def frozen(self) -> Tree:
        """Return the arrays that the loss reads and that are not trained.

        The step takes them as an argument. They are numpy arrays or parameters still in their
        files, as `sharding.rules.put` takes them.
        """

    def loss(
        self,
        params: Tree,
        frozen: Tree,
        batch: EditBatch,
        key: Key[Array, ""],
        step: Int[ArrayLike, ""],
        *,
        is_training: bool = True,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the loss and the metrics of a micro-batch of B pairs.

        Scalar metrics are averaged over the micro-batches. Metrics with rows are concatenated;
        `after_update` must remove them.

        Args:
          params: as `init` makes them.
          frozen: as `frozen` returns them.
          batch: the pairs.
          key: for dropout and all other random draws.
          step: number of finished steps.
          is_training: False: nothing is drawn (no dropout, no dropped conditions, no noise), rows
            that are not `valid` do not count, and there are more metrics.
        """

    def frozen_tokenizer(self) -> FrozenTokenizer | None:
        """Return the tokenizer whose codes are read; default: None, the loss reads no codes."""
        return None

    def passes(self) -> list[Pass]:
        """List the networks that the loss runs on a pair of pictures, to count operations."""

    def activations(self, rows: int) -> int:
        """Estimate the bytes of activations that loss and gradient of `rows` pairs need.

        Parameters, frozen networks and gradients are not included.
        """

    def after_update(
        self,
        params: Tree,
        average: Tree,
        metrics: Metrics,
        key: Key[Array, ""],
        step: Int[Array, ""],
    ) -> tuple[Tree, Tree, Metrics]:
        """Change parameters that have no gradient, after the optimizer's update; default: none.

        Args:
          params: the updated parameters.
          average: their moving average, empty if there is none.
          metrics: the whole batch's metrics, as `loss` returns them.
          key: for random draws.
          step: number of finished steps before this step.

        Returns:
          Parameters, average, and metrics that are all scalars.
        """
        return params, average, metrics

    def edit(self, params: Tree, frozen: Tree, batch: EditBatch) -> UInt8[Array, "B H W 3"]:
        """Edit the sources of B pairs by their instructions, with the same noise at every step.

        Only objectives of models that edit have this method; it compiles once for a batch size.
        """

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch
    ) -> UInt8[np.ndarray, "B columns H W 3"]:
        """Draw a row of pictures for each example, which show what `columns` says."""

    def export(self, params: Tree, directory: str) -> None:
        """Write weights and config as a pretrained directory, for `Editor` and the commands."""
