"""The validation of a run: the loss of held-out rows, and scores of held-out edits.

The parameters that are exported are evaluated: their moving average, if there is one. All processes
must call a validation; they get the same numbers.
"""

import logging
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int

from jaxedit import rng
from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.data.toy_benchmark import ToyBenchmark
from jaxedit.data.validation import ValidationRows
from jaxedit.sharding import rules
from jaxedit.train.objectives.objective import Metrics, Objective
from jaxedit.train.objectives.registry import TrainingData
from jaxedit.train.reporting import only_reported
from jaxedit.train.step import TrainState
from jaxedit.tree import Tree

log = logging.getLogger(__name__)


class Validation:
    """Computes the loss of held-out rows without dropout, by a program that is compiled once."""

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        rows: ValidationRows,
        state: TrainState,
        frozen: Tree,
        mesh: Mesh,
    ) -> None:
        """Define the program; `state` and `frozen` show how arrays are sharded on the mesh."""
        self._rows, self._mesh, self._size = rows, mesh, config.data.batch_size

        def evaluate(
            params: Tree,
            frozen: Tree,
            batch: EditBatch,
            step: Int[Array, ""],
            index: Int[Array, ""],
        ) -> Metrics:
            key = rng.key_for(config.seed, "validation", index)
            loss, metrics = objective.loss(params, frozen, batch, key, step, is_training=False)
            scalars = {name: value for name, value in metrics.items() if value.ndim == 0}
            return {"loss": loss} | scalars

        layout = jax.tree.map(lambda x: x.sharding, (state.eval_params, frozen))
        whole = rules.replicated(mesh)
        self._evaluate = jax.jit(
            evaluate,
            in_shardings=(*layout, rules.batch_sharding(mesh), whole, whole),
            out_shardings=whole,
        )
        average = " (moving average of the parameters)" if state.ema_params else ""
        log.info("validation: %d rows, %s%s", len(rows), rows.name, average)

    def __call__(self, state: TrainState, frozen: Tree) -> dict[str, float]:
        """Return the loss and all metrics: means over batches, weighted by their rows."""
        totals: dict[str, float] = {}
        for index, batch in enumerate(batches_on(self._mesh, self._rows, self._size)):
            found = self._evaluate(state.eval_params, frozen, batch, state.step, np.int32(index))
            count = min(self._size, len(self._rows) - index * self._size)
            for name, value in jax.device_get(found).items():
                totals[name] = totals.get(name, 0.0) + count * float(value)
        return {name: total / len(self._rows) for name, total in totals.items()}


class EditScores:
    """Edits the pairs of a benchmark, and returns the scores of the edits."""

    def __init__(
        self, config: TrainConfig, objective: Objective, benchmark: ToyBenchmark, mesh: Mesh
    ) -> None:
        """Take the benchmark; programs are compiled when the first batch is edited."""
        self._objective, self._benchmark = objective, benchmark
        self._mesh, self._size = mesh, config.data.batch_size
        log.info("edits: %d pairs, %s", len(benchmark), benchmark.name)

    def __call__(self, state: TrainState, frozen: Tree) -> dict[str, float]:
        """Return the scores, which every process computes from all edits.

        A failure costs a warning and the scores, not the run.
        """
        with only_reported(f"editing {self._benchmark.name}"):
            edits: list[np.ndarray] = []
            for batch in batches_on(self._mesh, self._benchmark, self._size):
                output = self._objective.edit(state.eval_params, frozen, batch)
                edits += [*rules.to_host(output)]
            return self._benchmark.scores(edits[: len(self._benchmark)])
        return {}


def batches_on(mesh: Mesh, rows: ValidationRows | ToyBenchmark, size: int) -> Iterator[EditBatch]:
    """Return all batches of `size` rows, each process's rows on its devices."""
    local = rows.batches(rules.local_rows(mesh, size))
    return (rules.to_global(batch, mesh, size) for batch in local)


def make_validation(
    config: TrainConfig,
    objective: Objective,
    data: TrainingData,
    state: TrainState,
    frozen: Tree,
    mesh: Mesh,
) -> Callable[[TrainState, Tree], dict[str, float]] | None:
    """Return a function from a state to its metrics, val/...; None if nothing is validated.

    Loss and metrics of held-out rows come first, then the scores of the benchmark.
    """
    parts: list[Validation | EditScores] = []
    if config.eval_every and data.validation is not None:
        parts.append(Validation(config, objective, data.validation, state, frozen, mesh))
    if config.eval_every and data.benchmark is not None:
        parts.append(EditScores(config, objective, data.benchmark, mesh))

    def validate(state: TrainState, frozen: Tree) -> dict[str, float]:
        found = [part(state, frozen) for part in parts]
        return {f"val/{name}": value for part in found for name, value in part.items()}

    return validate if parts else None
