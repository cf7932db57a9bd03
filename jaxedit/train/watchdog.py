"""The phases of a run, and a watchdog that logs them and warns when one takes too long."""

import contextlib
import logging
import time
from typing import NamedTuple

from jaxedit.train.repeating import repeating

BEAT = 8.0  # seconds; together with the ticks there is a message every 10

log = logging.getLogger(__name__)


class Phase(NamedTuple):
    """A part of a run."""

    name: str
    seconds: float  # it usually takes no longer
    hint: str  # what may be wrong if it does
    is_logged: bool = True  # log again and again that it goes on


IMPORT = Phase("starting", 60, "python reads its packages slowly: are they on a network disk?")
JOIN = Phase(
    "joining the other processes",
    30,
    "is the command running on every host (--worker=all), and can they reach the first one? "
    "HTTP(S)_PROXY must be unset; a single host needs --distributed=off",
)
BUILD = Phase(
    "loading weights and data",
    300,
    "some storage delivers weights slowly; weights of the Hugging Face Hub are downloaded first",
)
START = Phase(
    "making or restoring the state",
    300,
    "some storage delivers weights slowly, and a program is compiled here too; all processes wait "
    "for a process that has not printed its line `process ... of ...`",
)
DATA = Phase(
    "waiting for the data",
    120,
    "can this host read data.source? For slow storage raise --config.data.threads and "
    "--config.data.prefetch",
    is_logged=False,
)
FIRST_DATA = DATA._replace(is_logged=True)
FIRST = Phase(
    "compiling and running the first step",
    300,
    "large models compile for minutes; all processes wait for a process that has ended or has not "
    "printed its line `process ... of ...`",
)
STEP = Phase(
    "running the step",
    600,
    "processes wait for each other: look for a process whose output ended or whose disk is full, "
    "and start the same command again on all hosts",
    is_logged=False,
)
SAVE = Phase(
    "saving the checkpoint",
    600,
    "is --workdir slow or full, or on a disk that not every host shares?",
)
EXPORT = Phase("exporting the weights", 900, SAVE.hint)
VALIDATE = Phase(
    "validating",
    900,
    "the first time it compiles programs too; --config.eval_batches and --config.eval_samples set "
    "the number of rows",
)
SHEET = Phase("drawing the sample sheet", 900, "the first time it compiles a program too")


class Watchdog:
    """While open, logs the current phase; warns when it takes too long, again when that doubled."""

    def __init__(
        self, phase: Phase | None = None, *, tick: float = 1.0, beat: float = BEAT
    ) -> None:
        """Set the periods.

        Args:
          phase: the phase that begins when the watchdog is opened, if any.
          tick: seconds between two looks.
          beat: seconds of silence before the phase is logged.
        """
        self._phase, self._tick, self._beat = phase, tick, beat
        self._now: tuple[str, Phase, float] | None = None  # step, phase and its beginning
        self._watched: tuple[str, Phase, float] | None = None
        self._patience, self._logged = 0.0, time.monotonic()
        self._stack = contextlib.ExitStack()

    def enter(self, phase: Phase, step: int | None = None) -> None:
        """Begin a phase; the phase before ends."""
        where = "" if step is None else f"step {step}: "
        self._now = (where, phase, time.monotonic())

    def rest(self) -> None:
        """End the current phase; another watchdog goes on."""
        self._now = None

    def _look(self) -> bool:
        now = self._now
        if now is None:
            self._logged = time.monotonic()
            return True
        where, phase, begin = now
        if now is not self._watched:
            self._watched, self._patience = now, phase.seconds
        taken = time.monotonic() - begin
        if not phase.is_logged:
            self._logged = time.monotonic()
        elif time.monotonic() - self._logged > self._beat:
            log.info("%sstill %s, %.0f s", where, phase.name, taken)
            self._logged = time.monotonic()
        if taken > self._patience:
            name, minutes = where + phase.name, taken / 60
            log.warning("%s has taken %.1f minutes: %s", name, minutes, phase.hint)
            self._patience = 2 * taken
        return True

    def __enter__(self) -> "Watchdog":
        """Start to watch."""
        if self._phase:
            self.enter(self._phase)
        self._stack.enter_context(repeating(self._look, self._tick))
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching."""
        self._stack.close()
