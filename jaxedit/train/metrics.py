"""Means of a run's metrics between two reports, its speed, and the check that it is finite."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is not finite any more."""


class MetricsWindow:
    """Means of the metrics since the last report, fetched one step late so that nothing waits.

    `add` of step n reads the numbers of step n - 1: by then the device works on step n.
    """

    def __init__(self, last_good: Callable[[], int | None]) -> None:
        """Start the clock; `last_good` names the newest checkpoint's step."""
        self._last_good = last_good
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._values: list[dict[str, float]] = []
        self._is_compiled = False
        self._start_clock()

    def _start_clock(self) -> None:
        self._start, self._waited, self._timed = time.perf_counter(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Leave the time inside out of all rates: the run makes no steps."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Remember the metrics of finished step number `step`; read those of the step before.

        Raises:
          TrainingDiverged: the step before had a loss or gradient that is not finite.
        """
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Read the metrics that are still on the device.

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
        """Return mean metrics, img/s, s/step and the share of time spent on waiting; start anew.

        The step that the device works on counts in the next report. Where only the step that
        compiled is over, there are no rates yet.
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
