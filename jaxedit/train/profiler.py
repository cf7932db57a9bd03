"""A profile of some steps: what the devices and the host did, for XProf or TensorBoard."""

import logging
from types import TracebackType
from typing import Self

import jax
from etils import epath

from jaxedit.train.reporting import only_reported

log = logging.getLogger(__name__)


class Profiler:
    """Records steps to a directory; while open, `before` and `after` enclose every step."""

    def __init__(self, directory: epath.Path, steps: tuple[int, int] | None) -> None:
        """Record nothing yet.

        Args:
          directory: gets the profile.
          steps: first and last one, counted from 1 at the start of this process; None: none.
        """
        self._directory, self._steps = directory, steps
        self._done, self._is_on = 0, False

    def before(self) -> None:
        """Begin to record if the step to come is the first one."""
        self._done += 1
        if self._steps and self._done == self._steps[0]:
            with only_reported("the profile"):
                jax.profiler.start_trace(str(self._directory))
                self._is_on = True

    def after(self, metrics: dict[str, jax.Array]) -> None:
        """Write the profile if that step, whose results these are, was the last one."""
        if self._is_on and self._done == self._steps[1]:
            jax.block_until_ready(metrics)
            self._stop()

    def _stop(self) -> None:
        self._is_on = False
        with only_reported("the profile"):
            jax.profiler.stop_trace()
            log.info("profile of %d steps in %s", self._done - self._steps[0] + 1, self._directory)

    def __enter__(self) -> Self:
        """The object itself."""
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the profile of a run that ends before its last step."""
        if self._is_on:
            self._stop()
