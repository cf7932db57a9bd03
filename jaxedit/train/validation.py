"""The validation loss: the objective's loss on held-out rows, without dropout."""

import logging
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int

from jaxedit import rng
from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.data.validation import ValidationRows
from jaxedit.sharding import rules
from jaxedit.train.objectives.objective import Metrics, Objective
from jaxedit.train.step import TrainState
from jaxedit.tree import Tree

log = logging.getLogger(__name__)


class Validation:
    """Computes the validation loss of a state, by a program that is compiled once.

    It evaluates the parameters that are exported: their moving average, if there is one.
    """

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
        """Return the loss and all metrics: means over batches, weighted by their rows.

        All processes must call it; they get the same numbers.
        """
        totals: dict[str, float] = {}
        for index, batch in enumerate(self._batches()):
            found = self._evaluate(state.eval_params, frozen, batch, state.step, np.int32(index))
            count = min(self._size, len(self._rows) - index * self._size)
            for name, value in jax.device_get(found).items():
                totals[name] = totals.get(name, 0.0) + count * float(value)
        return {name: total / len(self._rows) for name, total in totals.items()}

    def _batches(self) -> Iterator[EditBatch]:
        local = self._rows.batches(rules.local_rows(self._mesh, self._size))
        return (rules.to_global(batch, self._mesh, self._size) for batch in local)


def make_validation(
    config: TrainConfig,
    objective: Objective,
    rows: ValidationRows | None,
    state: TrainState,
    frozen: Tree,
    mesh: Mesh,
) -> Validation | None:
    """Return the validation of a run; None if it is off or there are no held-out rows."""
    if not config.eval_every or rows is None:
        return None
    return Validation(config, objective, rows, state, frozen, mesh)
