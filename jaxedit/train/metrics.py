"""Mean metrics between two reports, the speed with its MFU, and the check that all is finite."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax
import numpy as np

from jaxedit.config import TrainConfig
from jaxedit.planning.device_memory import peak_flops
from jaxedit.train.objectives.objective import Metrics, Objective


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is no longer finite."""


class MetricsWindow:
    """Means of the metrics since the last report, read one step late so that nothing waits.

    `add` of step n reads the numbers of step n - 1: by then the devices compute step n.
    """

    def __init__(self, last_good: Callable[[], int | None]) -> None:
        """Start the clock; `last_good` returns the step of the newest checkpoint."""
        self._last_good = last_good
        self._pending: tuple[int, Metrics] | None = None
        self._values: list[dict[str, float]] = []
        self._is_compiled = False
        self._start_clock()

    def _start_clock(self) -> None:
        self._start, self._waited, self._timed = time.perf_counter(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside the block as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Exclude the time inside the block from all rates: the run makes no steps."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def add(self, step: int, metrics: Metrics) -> None:
        """Keep the metrics of finished step number `step`; read the metrics of the step before.

        Raises:
          TrainingDiverged: see `flush`.
        """
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Read the metrics that are still on the devices.

        Raises:
          TrainingDiverged: the loss or the gradient norm is not finite.
        """
        if self._pending is None:
            return
        step, on_device = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(on_device).items()}
        for name in ("loss", "grad_norm"):
            if not math.isfinite(values[name]):
                raise TrainingDiverged(
                    f"{name} is {values[name]} at step {step}; "
                    f"last good checkpoint: {self._last_good()}"
                )
        self._values.append(values)
        self._timed += 1
        if not self._is_compiled:  # the first step does not count: it compiled
            self._is_compiled = True
            self._start_clock()

    def report(self, batch_size: int) -> dict[str, float]:
        """Return mean metrics, img/s, s/step and the share of time spent waiting; start anew.

        The step that the devices compute now counts in the next report. There are no rates as long
        as only the step that compiled is finished.
        """
        if not self._values:
            self.flush()
        seconds = time.perf_counter() - self._start
        means = {k: float(np.mean([v[k] for v in self._values])) for k in self._values[0]}
        means["lr"] = self._values[-1]["lr"]
        if self._timed:
            means |= {
                "img_per_s": self._timed * batch_size / seconds,
                "s_per_step": seconds / self._timed,
                "data_wait": self._waited / seconds,
            }
        self._values = []
        self._start_clock()
        return means


class StepFlops(NamedTuple):
    """The model FLOPs of a step: what `Objective.passes` lists, without recomputation for memory.

    Attributes:
      flops: additions and multiplications of a step on all devices together.
      devices: their number.
      peak: operations per second of a device, None if not known.
    """

    flops: float
    devices: int
    peak: float | None

    def rates(self, steps_per_second: float) -> dict[str, float]:
        """Return TFLOP/s of each device and, if its peak is known, the utilisation (MFU)."""
        rate = self.flops * steps_per_second / self.devices
        found = {"tflops_per_device": rate / 1e12}
        return found | {"mfu": rate / self.peak} if self.peak else found


def step_flops(config: TrainConfig, objective: Objective) -> StepFlops:
    """Count the operations of a step on this run's devices."""
    flops = config.data.batch_size * flops_per_pair(objective)
    return StepFlops(flops, jax.device_count(), peak_flops(jax.devices()[0].device_kind))


def flops_per_pair(objective: Objective) -> float:
    """Count the operations of the loss of a pair of pictures, and of its gradient."""
    unused = ("vq",) if objective.has_stored_codes else ()
    return sum(one.flops for one in objective.passes() if one.network not in unused)
