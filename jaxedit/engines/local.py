"""Jobs in processes of this machine: each job gets a new process."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from jaxedit.engines.engine import Job, Seen, Work


def run_jobs(work: Work[Job], jobs: Sequence[Job], seen: Seen, workers: int) -> None:
    """Do all jobs; see `engine.run_jobs`."""
    if workers == 1:
        for job in jobs:
            work(job, seen)
        return
    waiting = iter(jobs)
    running: dict[Connection, tuple[BaseProcess, Job]] = {}
    try:
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                connection, process = _start(work, job)
                running[connection] = process, job
            if not running:
                return
            for connection in wait(list(running)):
                process, job = running[connection]
                try:
                    message = connection.recv()
                except EOFError:  # the process has ended without a message
                    message = OSError("its process was killed; out of memory? run again")
                if isinstance(message, OSError):
                    raise OSError(f"{job}: {message}") from message
                if message is None:
                    del running[connection]
                    _end(connection, process)
                else:
                    seen()
    finally:
        for connection, (process, _) in running.items():
            _end(connection, process)


def _start(work: Work[Job], job: Job) -> tuple[Connection, BaseProcess]:
    """Start a process that does a job; return the connection for messages, and the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, job, theirs), daemon=True)
    # Ctrl-C is sent to all processes of a terminal; only the parent should react. A child inherits
    # the signal mask, unless its start also starts the resource tracker.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return ours, process


def _end(connection: Connection, process: BaseProcess) -> None:
    """End a process if it is still running, and free its resources."""
    process.kill()
    process.join()
    process.close()
    connection.close()


def _work(work: Work[Job], job: Job, connection: Connection) -> None:
    """Do a job; send True after each piece, None at the end, or the error that ended it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(job, lambda: connection.send(True))
        connection.send(None)
    except Exception as error:  # the parent reports any error
        connection.send(error if isinstance(error, OSError) else OSError(f"{error!r}"))


def _end_with_parent() -> None:
    """End this process when its parent is killed, so that it does not continue to write."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
