"""The monitor of a run: progress, speed, divergence and profile; it never changes the training.

The loop in `loop.py` says what it is doing (`with monitor.waiting_for_data(step): ...`); the
monitor times, checks and reports it.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

import jax
from etils import epath

from jaxedit import compile_cache, compile_times
from jaxedit.config import TrainConfig
from jaxedit.train import watchdog as phases
from jaxedit.train.metrics import MetricsWindow, StepFlops, step_flops
from jaxedit.train.objectives.objective import Metrics, Objective
from jaxedit.train.reporting import MetricWriter, format_duration, only_reported
from jaxedit.train.watchdog import Phase, Watchdog

log = logging.getLogger(__name__)


class Monitor:
    """Times, checks and reports a run; open from its first moment to its last.

    `writer` takes validation losses and sample sheets once the monitor is started.
    """

    def __init__(
        self,
        config: TrainConfig,
        workdir: epath.Path,
        objective: Objective,
        profile_steps: tuple[int, int] | None = None,
    ) -> None:
        """Count the operations of a step.

        Args:
          config: the run.
          workdir: gets config.json, metrics.jsonl, samples/ and profile/.
          objective: what is trained.
          profile_steps: see `Profiler`.
        """
        self._config, self._workdir = config, workdir
        self._programs = compile_times.name_of("training", config)
        self._watchdog = Watchdog(phases.START)
        self._profiler = Profiler(workdir / "profile", profile_steps)
        self._stack = contextlib.ExitStack()
        self._flops: StepFlops | None = None
        with only_reported("counting the operations of a step"):
            self._flops = step_flops(config, objective)

    def __enter__(self) -> "Monitor":
        """Start the watchdog."""
        self._stack.enter_context(self._watchdog)
        return self

    def __exit__(self, *error: object) -> None:
        """Write a profile that has begun, and close the dashboards."""
        self._stack.close()

    def start(self, start: int, last_good: Callable[[], int | None]) -> None:
        """Open the files and the dashboards, log what comes, and start the clock.

        Args:
          start: number of finished steps; reports of later steps are dropped.
          last_good: returns the step of the newest checkpoint.
        """
        self._start, self._window = start, MetricsWindow(last_good)
        writer = MetricWriter(self._workdir, self._config, start=start)
        self.writer = self._stack.enter_context(writer)
        self._stack.callback(self._profiler.close)
        if start >= self._config.steps:
            steps = self._config.steps
            log.info("all %d steps are done; another run needs another --workdir", steps)
        else:
            where, last = compile_cache.where(), compile_times.last_time(self._programs)
            log.info("preparing the training step (compiled programs: %s)%s", where, last)

    @contextlib.contextmanager
    def waiting_for_data(self, step: int) -> Iterator[None]:
        """Count the time inside the block as waiting."""
        self._begin = time.perf_counter()
        self._watchdog.enter(phases.FIRST_DATA if self._is_first(step) else phases.DATA, step)
        with self._window.waiting():
            yield

    @contextlib.contextmanager
    def running(self, step: int) -> Iterator[None]:
        """Watch the start of a step; no array moves between host and devices by accident."""
        self._watchdog.enter(phases.FIRST if self._is_first(step) else phases.STEP, step)
        self._profiler.before()
        is_first = self._is_first(step)
        timed = compile_times.timed(self._programs) if is_first else contextlib.nullcontext()
        with timed, jax.transfer_guard("disallow"):
            yield

    def add(self, step: int, metrics: Metrics) -> None:
        """Take the metrics of a step; they are read when the devices compute the next step.

        Raises:
          TrainingDiverged: the step before had a loss or gradient that is not finite.
        """
        if self._is_first(step):
            jax.block_until_ready(metrics)
            seconds = time.perf_counter() - self._begin
            log.info("step %d is done, after %s", step, format_duration(seconds))
        self._profiler.after(metrics)
        self._window.add(step, metrics)

    @contextlib.contextmanager
    def saving(self, step: int) -> Iterator[None]:
        """Watch the start of a checkpoint; a state that is not finite is never saved.

        Raises:
          TrainingDiverged: before the block, which then does not run.
        """
        self._watchdog.enter(phases.SAVE, step)
        self._window.flush()
        yield

    def report(self, step: int) -> None:
        """Report the means since the last report, and the speed."""
        values = self._window.report(self._config.data.batch_size)
        if self._flops and "s_per_step" in values:
            values |= self._flops.rates(1 / values["s_per_step"])
        self.writer.write_scalars(step, values)

    def validating(self, step: int) -> contextlib.AbstractContextManager[None]:
        """Watch the validation; see `pausing`."""
        return self.pausing(phases.VALIDATE, step)

    def drawing(self, step: int) -> contextlib.AbstractContextManager[None]:
        """Watch the drawing of samples; see `pausing`."""
        return self.pausing(phases.SHEET, step)

    @contextlib.contextmanager
    def pausing(self, phase: Phase, step: int) -> Iterator[None]:
        """Exclude the time inside the block from the run's speed.

        Raises:
          TrainingDiverged: before the block, which then does not run.
        """
        self._watchdog.enter(phase, step)
        self._window.flush()
        with self._window.pausing():
            yield

    @contextlib.contextmanager
    def exporting(self) -> Iterator[None]:
        """Watch the export and, after it, the end of the last checkpoint."""
        self._watchdog.enter(phases.EXPORT)
        yield
        self._watchdog.enter(phases.SAVE)

    def _is_first(self, step: int) -> bool:
        """Tell whether this process compiles at `step`."""
        return step == self._start + 1


class Profiler:
    """Records a profile of some steps, for XProf or TensorBoard."""

    def __init__(self, directory: epath.Path, steps: tuple[int, int] | None) -> None:
        """Set where and what to record.

        Args:
          directory: gets the profile.
          steps: first and last step, counted from 1 at the start of this process; None: none.
        """
        self._directory, self._steps = directory, steps
        self._done, self._is_on = 0, False

    def before(self) -> None:
        """Start recording if the next step is the first to record."""
        self._done += 1
        if self._steps and self._done == self._steps[0]:
            with only_reported("the profile"):
                jax.profiler.start_trace(str(self._directory))
                self._is_on = True

    def after(self, metrics: Metrics) -> None:
        """Write the profile if the step with these results was the last to record."""
        if self._is_on and self._done == self._steps[1]:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Write a profile that has begun."""
        if not self._is_on:
            return
        self._is_on = False
        with only_reported("the profile"):
            jax.profiler.stop_trace()
            log.info("profile of %d steps in %s", self._done - self._steps[0] + 1, self._directory)
