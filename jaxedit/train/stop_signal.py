"""Signals that end a run: SIGTERM and Ctrl-C."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn, Self

from jaxedit.console import STOPPED

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """SIGTERM or Ctrl-C came: the run is saved and goes on when the same command is started again.

    by: "SIGTERM" or "Ctrl-C".
    """

    def __init__(self, by: str, step: int) -> None:
        """The run stopped after `step`."""
        super().__init__(f"{by}: saved step {step}; the same command resumes")
        self.by = by


class CtrlC:
    """While open, each Ctrl-C calls an action at once, whatever the main thread does.

    Python's own handlers wait until the main thread runs Python again: not while XLA compiles. The
    action therefore runs in a thread. Where Ctrl-C is ignored (a job that a shell started in the
    background) or another thread opens this, nothing changes.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        """Call `action` for each Ctrl-C."""
        self._action = action

    def __enter__(self) -> Self:
        """Start to listen."""
        self._listens = threading.current_thread() is threading.main_thread() and signal.getsignal(
            signal.SIGINT
        ) not in (signal.SIG_IGN, None)
        if self._listens:
            read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._before = signal.signal(signal.SIGINT, lambda number, frame: None)
            self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._listen, args=[read], daemon=True)
            self._thread.start()
        return self

    def _listen(self, read: int) -> None:
        with open(read, "rb", buffering=0) as pipe:
            while number := pipe.read(1):  # python writes the number of every signal that comes
                if number[0] == signal.SIGINT:
                    self._action()

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signal back."""
        if self._listens:
            signal.set_wakeup_fd(self._fd_before)
            signal.signal(signal.SIGINT, self._before)
            os.close(self._write)
            self._thread.join()


class StopSignal:
    """While open, SIGTERM sets `requested` instead of ending the process; later Ctrl-C too.

    In a run of many processes jax's preemption service listens to SIGTERM instead, because all of
    them must stop at the same step (`Checkpoints.reached_preemption`); Ctrl-C becomes a SIGTERM.
    """

    def __init__(self, *, is_alone: bool) -> None:
        """Nothing requested yet; `is_alone`: the run has one process."""
        self.requested, self._is_alone = False, is_alone
        self.by = "SIGTERM"

    def __enter__(self) -> Self:
        """Start to listen."""
        self._stack = contextlib.ExitStack()
        if self._is_alone:
            before = signal.signal(signal.SIGTERM, self._request)
            self._stack.callback(signal.signal, signal.SIGTERM, before)
        return self

    def listen_to_ctrl_c(self) -> None:
        """Let Ctrl-C save as well from now on; a second one ends the process at once."""
        self._stack.enter_context(CtrlC(self._interrupt))

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def _interrupt(self) -> None:
        if self.by == "Ctrl-C":
            end_now("Ctrl-C: ended; the same command goes on from the newest checkpoint")
        self.by = "Ctrl-C"
        log.warning("Ctrl-C: saving; again to end at once")
        if self._is_alone:
            self.requested = True
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        self._stack.close()


def end_now(message: str) -> NoReturn:
    """End the process from any thread, whatever the others do."""
    log.warning(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STOPPED)
