"""The training loop: mesh, state (new or restored), steps, reports, checkpoints, export."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxedit import compile_cache, rng, tree
from jaxedit.checkpoints.train_state import Checkpoints
from jaxedit.config import TrainConfig, require, to_dict
from jaxedit.data.batch import EditBatch
from jaxedit.sharding import distributed, rules
from jaxedit.train.metrics import Window, Writer, duration
from jaxedit.train.mfu import Work, work_of_step
from jaxedit.train.optim import make_optimizer
from jaxedit.train.profile import Profiler
from jaxedit.train.reporting import only_reported
from jaxedit.train.step import Metrics, Objective, TrainState, init_state, make_step
from jaxedit.train.stop_signal import StopSignal
from jaxedit.train.training_mesh import mesh_of
from jaxedit.train.warm_start import warm_start
from jaxedit.train.watchdog import (
    DATA,
    EXPORT,
    FIRST,
    FIRST_DATA,
    SAVE,
    SHEET,
    START,
    STEP,
    Watchdog,
)

log = logging.getLogger(__name__)

BatchesFrom = Callable[[int, range], Iterator[EditBatch]]


class Interrupted(Exception):
    """SIGTERM or Ctrl-C came: the run is saved and goes on when the same command is started again.

    by: "SIGTERM" or "Ctrl-C".
    """

    def __init__(self, by: str, step: int) -> None:
        """The run stopped after `step`."""
        super().__init__(f"{by}: saved step {step}; the same command resumes")
        self.by = by


def train(
    config: TrainConfig,
    workdir: epath.Path,
    objective: Objective,
    batches_from: BatchesFrom,
    examples: EditBatch,
    *,
    profile_steps: tuple[int, int] | None = None,
) -> TrainState:
    """Train `objective` from the newest checkpoint in `workdir`, if any; returns the last state.

    Args:
      config: the run, validated; it ends after `steps`, those before the checkpoint included.
      workdir: gets config.json, metrics.jsonl, samples/, checkpoints/ and, at the end, export/.
      objective: what is trained.
      batches_from: (finished steps, rows) -> these rows of the next batch, the one after, ...;
        equal arguments give equal batches, so that a resumed run equals one that never stopped.
      examples: the rows of the sample sheets.
      profile_steps: first and last step to profile, from 1 at the start of this call.

    Raises:
      Interrupted: SIGTERM or Ctrl-C came; a checkpoint of the last step is complete.
      TrainingDiverged: the loss is not finite; the message names the last good checkpoint.
      ConfigError: the mesh does not fit the devices, or the checkpoint does not fit the config.
    """
    with Watchdog() as watchdog:
        watchdog.enter(START)
        mesh = mesh_of(config, objective)
        work = None
        with only_reported("counting the operations of a step"):
            work = work_of_step(config, objective)
        with (
            jax.set_mesh(mesh),
            StopSignal(is_alone=jax.process_count() == 1) as stop,
            Checkpoints(workdir / "checkpoints", keep=config.keep_checkpoints) as checkpoints,
        ):
            frozen = rules.place(objective.frozen(), mesh)
            state = first_state(config, objective, checkpoints, mesh)
            begin = int(state.step)
            local = batches_from(begin, rules.local_rows(mesh, config.data.batch_size))
            with (
                Writer(workdir, config, start=begin) as writer,
                Profiler(workdir / "profile", profile_steps) as profiler,
            ):
                run = Run(
                    *(config, objective, frozen),
                    train_step=jit_step(config, objective, state, frozen, mesh),
                    batches=(rules.to_global(b, mesh, config.data.batch_size) for b in local),
                    examples=jax.device_put(examples, rules.replicated(mesh)),
                    work=work,
                    window=Window(checkpoints.latest),
                    checkpoints=checkpoints,
                    stop=stop,
                    watchdog=watchdog,
                    writer=writer,
                    profiler=profiler,
                )
                state = run.steps(state, begin)
            watchdog.enter(EXPORT)
            export(objective, state.best_params, workdir / "export")
            watchdog.enter(SAVE)
    return state


@dataclasses.dataclass(frozen=True)
class Run:
    """What the steps of a run share: how to make one, and whom to tell about it."""

    config: TrainConfig
    objective: Objective
    frozen: tree.Tree
    _: dataclasses.KW_ONLY
    train_step: Callable[[TrainState, tree.Tree, EditBatch], tuple[TrainState, Metrics]]
    batches: Iterator[EditBatch]
    examples: EditBatch
    work: Work | None
    window: Window
    checkpoints: Checkpoints
    stop: StopSignal
    watchdog: Watchdog
    writer: Writer
    profiler: Profiler

    def steps(self, state: TrainState, begin: int) -> TrainState:
        """All steps after step `begin`; returns the last state.

        Raises:
          Interrupted, TrainingDiverged: see `train`.
        """
        last = self.config.steps
        if begin >= last:
            log.info("all %d steps are done; another run needs another --workdir", last)
        else:
            log.info("preparing the training step (compiled programs: %s)", compile_cache.where())
        for step in range(begin + 1, last + 1):
            state = self.step(state, step, is_first=step == begin + 1)
            stopping = self.stop.requested or self.checkpoints.reached_preemption(step)
            self.save_and_log(state, step, always=stopping or step == last)
            if stopping and step < last:
                raise Interrupted(self.stop.by, step)
            self.log_samples(state, step)
        return state

    def step(self, state: TrainState, step: int, *, is_first: bool) -> TrainState:
        """The state after one more step, the first of which compiles."""
        begin = time.perf_counter()
        self.watchdog.enter(FIRST_DATA if is_first else DATA, step)
        with self.window.waiting():
            batch = next(self.batches)
        self.watchdog.enter(FIRST if is_first else STEP, step)
        self.profiler.before()
        with jax.transfer_guard("disallow"):
            state, metrics = self.train_step(state, self.frozen, batch)
        if is_first:
            jax.block_until_ready(metrics)
            log.info("step %d is done, after %s", step, duration(time.perf_counter() - begin))
            self.stop.listen_to_ctrl_c()
        self.profiler.after(metrics)
        self.window.add(step, metrics)
        return state

    def save_and_log(self, state: TrainState, step: int, *, always: bool) -> None:
        """Save the state and report, each when it is time to, or always."""
        if always or step % self.config.checkpoint_every == 0:
            self.watchdog.enter(SAVE, step)
            self.window.flush()  # a state that is not finite is never saved
            self.checkpoints.save(step, state, to_dict(self.config))
        if always or step % self.config.log_every == 0:
            report = self.window.report(self.config.data.batch_size)
            if self.work and "s_per_step" in report:
                report |= self.work.rates(1 / report["s_per_step"])
            self.writer.scalars(step, report)

    def log_samples(self, state: TrainState, step: int) -> None:
        """Draw a sample sheet when it is time to."""
        every, is_last = self.config.sample_every, step == self.config.steps
        if every and (step % every == 0 or is_last):
            self.watchdog.enter(SHEET, step)
            key = rng.key_for(self.config.seed, "sheet")
            self.window.flush()
            with self.window.pausing():
                pictures = self.objective.sample_grid(
                    state.best_params, self.frozen, self.examples, key
                )
                self.writer.log_image(step, pictures)


def first_state(
    config: TrainConfig, objective: Objective, checkpoints: Checkpoints, mesh: Mesh
) -> TrainState:
    """The newest checkpoint's state or, in a new workdir, a new one; laid out over the mesh.

    A new one has random parameters, or those of `init_from`.

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


def jit_step(
    config: TrainConfig, objective: Objective, state: TrainState, frozen: tree.Tree, mesh: Mesh
) -> Callable[[TrainState, tree.Tree, EditBatch], tuple[TrainState, Metrics]]:
    """The compiled training step; the state that it is given is used up."""
    step = make_step(objective, make_optimizer(config.optim, config.steps), config)
    layout, frozen_layout = jax.tree.map(lambda x: x.sharding, (state, frozen))
    return jax.jit(
        step,
        in_shardings=(layout, frozen_layout, rules.batch_sharding(mesh)),
        out_shardings=(layout, rules.replicated(mesh)),
        donate_argnums=0,
    )


def export(objective: Objective, params: tree.Tree, directory: epath.Path) -> None:
    """Gather the parameters, one array at a time, and let the first process write the weights.

    The others wait for it: the end of a run gives its processes a few minutes at most.
    """
    is_first = jax.process_index() == 0

    def gather(leaf: jax.Array) -> np.ndarray | None:
        array = rules.to_host(leaf)
        return array if is_first else None

    params = jax.tree.map(gather, params)
    if is_first:
        objective.export(params, str(directory))
        log.info("exported the weights to %s", directory)
    multihost_utils.sync_global_devices("export")


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a config as a flat dict with the names of the command line, --config.x.y."""
    flat = tree.flatten(config)
    return {f"--config.{path.replace('/', '.')}": value for path, value in flat.items()}


def show_difference(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Log every setting that differs from the checkpoint's."""
    old, new = settings(saved), settings(now)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            log.info("%s was %r, is %r", name, old.get(name), new.get(name))
