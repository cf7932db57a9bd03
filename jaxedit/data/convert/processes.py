"""Shards written by several processes at once, each by a new one, which never sees jax."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from jaxedit.data.convert.report import Report
from jaxedit.data.convert.shard import Job, write_shard


def write_shards(jobs: Sequence[Job], workers: int, seen: Callable[[Job, Report], object]) -> None:
    """Write all shards; the first that fails ends the others.

    Args:
      jobs: one for each shard.
      workers: how many to write at a time; with one, this process does.
      seen: called after each published piece with its shard's counts so far.

    Raises:
      OSError: a shard cannot be written, or its process was killed.
    """
    if workers == 1:
        for job in jobs:
            write_shard(job, lambda report, job=job: seen(job, report))
        return
    waiting = iter(jobs)
    with contextlib.ExitStack() as stack:
        running = {}
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                running[stack.enter_context(_started(job))] = job
            if not running:
                return
            for connection in wait(list(running)):
                job = running[connection]
                try:
                    message = connection.recv()
                except EOFError:  # it has ended
                    message = OSError("its process was killed; out of memory? run again")
                if message is None:
                    del running[connection]
                elif isinstance(message, Report):
                    seen(job, message)
                else:
                    raise OSError(f"shard {job.index}: {message}") from message


@contextlib.contextmanager
def _started(job: Job) -> Iterator[Connection]:
    """A process that writes a shard; killed when the block ends before it does."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, theirs), daemon=True)
    # Ctrl-C reaches all processes of a terminal: only this one answers. The mask is inherited, but
    # not by a process whose start also starts the tracker.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    try:
        yield ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _work(job: Job, connection: Connection) -> None:
    """Write a shard; sends its reports, then None, or the error that ended it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        write_shard(job, connection.send)
        connection.send(None)
    except Exception as error:  # whatever it is, the parent tells it
        connection.send(error if isinstance(error, OSError) else OSError(f"{error!r}"))


def _end_with_parent() -> None:
    """End this process once its parent was killed, so that it does not write on unseen."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
