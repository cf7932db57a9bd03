"""Signals that end a run: SIGTERM and Ctrl-C."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from jaxedit.console import STOPPED

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """SIGTERM or Ctrl-C came: the run is saved, and the same command resumes it."""

    def __init__(self, by: str, step: int) -> None:
        """The run stopped after `step`; `by` is "SIGTERM" or "Ctrl-C"."""
        super().__init__(f"{by}: saved step {step}; the same command resumes")
        self.by = by


@contextlib.contextmanager
def on_ctrl_c(action: Callable[[], None]) -> Iterator[None]:
    """Call `action` at once for each Ctrl-C inside the block, whatever the main thread does.

    Python's own handlers wait until the main thread runs Python code again, which it does not while
    XLA compiles; so the action runs in a thread. Nothing changes where Ctrl-C is ignored (a job
    that a shell started in the background) or where another thread enters the block.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)

    def listen() -> None:
        with open(read, "rb", buffering=0) as pipe:
            while number := pipe.read(1):  # python writes the number of every signal that comes
                if number[0] == signal.SIGINT:
                    action()

    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        os.close(write)
        thread.join()


class StopSignal:
    """While open, SIGTERM sets `requested` instead of ending the process; later Ctrl-C too.

    In a run of several processes jax's preemption service listens to SIGTERM instead, because all
    of them must stop at the same step (`Checkpoints.reached_preemption`); Ctrl-C becomes a SIGTERM.
    """

    def __init__(self, *, is_alone: bool) -> None:
        """Request nothing yet; `is_alone`: the run has a single process."""
        self.requested, self._is_alone = False, is_alone
        self.by = "SIGTERM"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "StopSignal":
        """Start to listen."""
        if self._is_alone:
            handler = signal.signal(signal.SIGTERM, self._request)
            self._stack.callback(signal.signal, signal.SIGTERM, handler)
        return self

    def listen_to_ctrl_c(self) -> None:
        """Let Ctrl-C save too from now on; a second Ctrl-C ends the process at once."""
        self._stack.enter_context(on_ctrl_c(self._interrupt))

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

    def __exit__(self, *error: object) -> None:
        """Restore the signals."""
        self._stack.close()


def end_now(message: str) -> NoReturn:
    """End the process from any thread, whatever the other threads do."""
    log.warning(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STOPPED)
