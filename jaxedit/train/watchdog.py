"""What a run is doing: said while it lasts, with advice if it takes too long; ends nothing."""

import logging
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

log = logging.getLogger(__name__)


BEAT = 8.0  # seconds; with the ticks something is said every 10


class Phase(NamedTuple):
    """A part of a run: how long it may take, and what is wrong if it takes longer."""

    name: str
    seconds: float
    hint: str
    is_told: bool = True  # say again and again that it goes on


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
    "weights come slowly from some storage; those of the Hugging Face Hub are fetched first",
)
START = Phase(
    "making or restoring the state",
    300,
    "weights come slowly from some storage, and a program is compiled here too; all processes wait "
    "for one that has not printed its line `process ... of ...`",
)
DATA = Phase(
    "waiting for the data",
    120,
    "can this host read data.source? --config.data.threads and --config.data.prefetch are for "
    "slow storage",
    is_told=False,
)
FIRST_DATA = DATA._replace(is_told=True)
FIRST = Phase(
    "compiling and running the first step",
    300,
    "large models compile for minutes; if another process has not printed its line `process ... "
    "of ...` or has ended, all others wait for it",
)
STEP = Phase(
    "running the step",
    600,
    "processes wait for each other: look for the one whose output ended or whose disk is full, "
    "and start the same command again on all",
    is_told=False,
)
SAVE = Phase(
    "saving the checkpoint",
    600,
    "is --workdir slow or full, or on a disk that not every host shares?",
)
EXPORT = Phase("exporting the weights", 900, SAVE.hint)
VALIDATE = Phase(
    "computing the validation loss",
    900,
    "its program is compiled too, the first time; --config.eval_batches is for fewer rows",
)
SHEET = Phase("drawing the sample sheet", 900, "its program is compiled too, the first time")


class Watchdog:
    """While open, says what goes on, and warns when it takes too long, and again when doubled."""

    def __init__(
        self, phase: Phase | None = None, *, tick: float = 1.0, beat: float = BEAT
    ) -> None:
        """Look every `tick` seconds; say at least every `beat` seconds what goes on.

        Args:
          phase: what goes on from the moment when this is opened; None: nothing yet.
          tick: seconds.
          beat: seconds.
        """
        self._phase = phase
        self._tick, self._beat = tick, beat
        self._now: tuple[str, Phase, float] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def enter(self, phase: Phase, step: int | None = None) -> None:
        """Begin this phase, and end the one before."""
        where = "" if step is None else f"step {step}: "
        self._now = (where, phase, time.monotonic())

    def rest(self) -> None:
        """End the phase before; something else says what goes on."""
        self._now = None

    def _watch(self) -> None:
        watched, patience, spoke = None, 0.0, time.monotonic()
        while not self._closing.wait(self._tick):
            now = self._now
            if now is None:
                spoke = time.monotonic()
                continue
            where, phase, begin = now
            if now is not watched:
                watched, patience = now, phase.seconds
            taken = time.monotonic() - begin
            if not phase.is_told:
                spoke = time.monotonic()
            elif time.monotonic() - spoke > self._beat:
                log.info("%sstill %s, %.0f s", where, phase.name, taken)
                spoke = time.monotonic()
            if taken > patience:
                what, minutes = where + phase.name, taken / 60
                log.warning("%s has taken %.1f minutes: %s", what, minutes, phase.hint)
                patience = 2 * taken

    def __enter__(self) -> Self:
        """Start to watch."""
        if self._phase:
            self.enter(self._phase)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._closing.set()
        self._thread.join()
