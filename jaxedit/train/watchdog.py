"""Says in the log what takes too long, and what that usually means; ends nothing."""

import logging
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

log = logging.getLogger(__name__)


class Phase(NamedTuple):
    """A part of a run: how long it may take in silence, and what is wrong if it takes longer."""

    name: str
    seconds: float
    hint: str


JOIN = Phase(
    "joining the other processes",
    30,
    "is the command running on every host (--worker=all), and can they reach the first one? "
    "HTTP(S)_PROXY must be unset; a single host needs --distributed=off",
)
START = Phase(
    "making or restoring the state",
    300,
    "weights come slowly from some storage, and a program is compiled here too; all processes wait "
    "for one that has not printed its line `process ... of ...`",
)
DATA = Phase(
    "the data",
    120,
    "can this host read data.source? --config.data.threads and --config.data.prefetch are for "
    "slow storage",
)
FIRST = Phase(
    "compiling and the first step",
    300,
    "large models compile for minutes; if another process has not printed its line `process ... "
    "of ...` or has ended, all others wait for it",
)
STEP = Phase(
    "the step",
    600,
    "processes wait for each other: look for the one whose output ended or whose disk is full, "
    "and start the same command again on all",
)
SAVE = Phase(
    "the checkpoint",
    600,
    "is --workdir slow or full, or on a disk that not every host shares?",
)
EXPORT = Phase("the export", 900, SAVE.hint)
SHEET = Phase("the sample sheet", 900, "its program is compiled too, the first time")


class Watchdog:
    """While open, warns when a phase takes too long, and again each time it has doubled."""

    def __init__(self, *, tick: float = 1.0) -> None:
        """Look every `tick` seconds."""
        self._tick = tick
        self._now: tuple[str, Phase, float] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def enter(self, phase: Phase, step: int | None = None) -> None:
        """The phase before is over and this one begins."""
        label = phase.name if step is None else f"step {step}: {phase.name}"
        self._now = (label, phase, time.monotonic())

    def _watch(self) -> None:
        watched, patience = None, 0.0
        while not self._closing.wait(self._tick):
            now = self._now
            if now is None:
                continue
            label, phase, begin = now
            if now is not watched:
                watched, patience = now, phase.seconds
            taken = time.monotonic() - begin
            if taken > patience:
                log.warning("%s has taken %.1f minutes: %s", label, taken / 60, phase.hint)
                patience = 2 * taken

    def __enter__(self) -> Self:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._closing.set()
        self._thread.join()
