"""The training loop: data, step, validation, checkpoint, report, samples.

Its parts are in other modules: `initial_state` (random, pretrained or restored), `training_mesh`
(the mesh of devices), `step` (gradients and optimizer), `validation` (of held-out rows and edits),
`monitor` (speed, divergence, reports) and `stop_signal` (SIGTERM and Ctrl-C).
"""

import logging
from collections.abc import Iterator

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array, Shaped

from jaxedit.checkpoints.train_state import Checkpoints
from jaxedit.config import TrainConfig, to_dict
from jaxedit.data.batch import EditBatch, Examples
from jaxedit.sharding import rules
from jaxedit.train.initial_state import initial_state
from jaxedit.train.monitor import Monitor
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.objectives.registry import TrainingData
from jaxedit.train.step import TrainState, jit_step
from jaxedit.train.stop_signal import Interrupted, StopSignal
from jaxedit.train.training_mesh import on_training_mesh
from jaxedit.train.validation import make_validation
from jaxedit.tree import Tree

log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    workdir: epath.Path,
    objective: Objective,
    data: TrainingData,
    profile_steps: tuple[int, int] | None = None,
) -> TrainState:
    """Train from the newest checkpoint in `workdir`, if any, and return the exported state.

    Raises:
      Interrupted: SIGTERM or Ctrl-C came; the checkpoint of the last step is complete.
      TrainingDiverged: the loss is not finite; the message names the last good checkpoint.
      ConfigError: the mesh does not fit the devices, or the checkpoint does not fit the config.
    """
    with (
        Monitor(config, workdir, objective, profile_steps) as monitor,
        on_training_mesh(config, objective) as mesh,
        StopSignal(is_alone=jax.process_count() == 1) as stop,
        Checkpoints(
            workdir / "checkpoints", keep=config.keep_checkpoints, best_metric=config.best_metric
        ) as checkpoints,
    ):
        frozen = rules.place(objective.frozen(), mesh)
        state = initial_state(config, objective, checkpoints, mesh)
        start = int(state.step)
        train_step = jit_step(config, objective, state, frozen, mesh)
        validate = make_validation(config, objective, data, state, frozen, mesh)
        batches = global_batches(data, start, mesh, config.data.batch_size)
        sheets = sheets_of(data, mesh)
        monitor.start(start, checkpoints.latest)
        for step in range(start + 1, config.steps + 1):
            with monitor.waiting_for_data(step):
                batch = next(batches)
            with monitor.running(step):
                state, metrics = train_step(state, frozen, batch)
            monitor.add(step, metrics)
            if step == start + 1:
                stop.listen_to_ctrl_c()  # only now is there something to save
            is_last = step == config.steps
            is_stopping = stop.requested or checkpoints.reached_preemption(step)
            val: dict[str, float] = {}
            if validate and not is_stopping and (is_last or step % config.eval_every == 0):
                with monitor.validating(step):
                    val = validate(state, frozen)
            is_best = checkpoints.is_best(val)
            if is_last or is_stopping or is_best or step % config.checkpoint_every == 0:
                with monitor.saving(step):
                    checkpoints.save(step, state, to_dict(config), val)
            monitor.writer.write_validation(step, val, checkpoints.best())
            if is_last or is_stopping or step % config.log_every == 0:
                monitor.report(step)
            if is_stopping and not is_last:
                raise Interrupted(stop.by, step)
            if config.sample_every and (is_last or step % config.sample_every == 0):
                with monitor.drawing(step):
                    draw_sheets(monitor, step, objective, state, frozen, sheets)
        with monitor.exporting():
            return export(objective, state, checkpoints, config.export, workdir / "export")


def global_batches(data: TrainingData, start: int, mesh: Mesh, size: int) -> Iterator[EditBatch]:
    """Yield the batches after `start` steps: the rows of all processes, `size` in total."""
    local = data.batches_from(start, rules.local_rows(mesh, size))
    return (rules.to_global(batch, mesh, size) for batch in local)


def sheets_of(data: TrainingData, mesh: Mesh) -> dict[str, Examples]:
    """Return the rows of each sample sheet by its name, a copy on every device."""
    sheets = {"samples": data.examples}
    if data.validation_examples is not None:
        sheets["validation"] = data.validation_examples
    copied = jax.device_put([sheet.batch for sheet in sheets.values()], rules.replicated(mesh))
    return {
        name: sheet._replace(batch=batch)
        for (name, sheet), batch in zip(sheets.items(), copied, strict=True)
    }


def draw_sheets(
    monitor: Monitor,
    step: int,
    objective: Objective,
    state: TrainState,
    frozen: Tree,
    sheets: dict[str, Examples],
) -> None:
    """Draw and write the sample sheets of a step."""
    for name, (rows, words) in sheets.items():
        images = objective.sample_grid(state.eval_params, frozen, rows)
        monitor.writer.write_sheet(step, images, objective.columns, words, name=name)


def state_to_export(state: TrainState, checkpoints: Checkpoints, which: str) -> TrainState:
    """Return the last state or, if `which` is "best", the state of the best checkpoint.

    The last state is deleted first: there may be no room for both.
    """
    best, metric = checkpoints.best(), checkpoints.best_metric
    if best is None:
        if which == "best":
            log.warning("no checkpoint has %s: exporting the last weights", metric)
        return state
    log.info("best %s: %.4f at step %d", metric, best.value, best.step)
    if which == "last" or best.step == int(state.step):
        return state
    layout = jax.tree.map(lambda x: x.sharding, state)
    abstract = rules.with_shardings(state, layout)
    checkpoints.wait()  # for the last state, which is still being written
    jax.tree.map(lambda x: x.delete(), state)
    return checkpoints.restore(best.step, abstract)


def export(
    objective: Objective,
    state: TrainState,
    checkpoints: Checkpoints,
    which: str,
    directory: epath.Path,
) -> TrainState:
    """Gather the parameters of `state_to_export`; the first process writes them as weights.

    Arrays are gathered one at a time. The other processes wait for the first: the end of a run
    gives them a few minutes at most. Returns the exported state.
    """
    state = state_to_export(state, checkpoints, which)
    is_first = jax.process_index() == 0

    def gather(leaf: Shaped[Array, "..."]) -> Shaped[np.ndarray, "..."] | None:
        array = rules.to_host(leaf)
        return array if is_first else None

    params = jax.tree.map(gather, state.eval_params)
    if is_first:
        objective.export(params, str(directory))
        log.info("exported the weights to %s", directory)
    multihost_utils.sync_global_devices("export")
    return state
