"""The queue of edits: bounded, filled by every door of the server, and taken in batches."""

import dataclasses
import math
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future

from jaxedit.editor.editor import EditResult
from jaxedit.editor.pipeline import Progress
from jaxedit.serve.edit_request import EditRequest

LONGEST = 60  # seconds until a client may ask again


class QueueFull(Exception):
    """There is no place for an edit; `seconds` from now there may be one."""

    def __init__(self, seconds: int) -> None:
        """Say when to ask again."""
        super().__init__(f"too many edits are waiting: ask again in {seconds} s")
        self.seconds = seconds


class EditFailed(Exception):
    """An edit failed by no fault of its client; the server's log says why."""


@dataclasses.dataclass(eq=False)
class Job:
    """An edit that waits for its batch, or is in it.

    Attributes:
      progress: called, from the batch's thread, with (steps done, steps in total).
      future: its result, ValueError if the model refuses the request, or EditFailed;
        `future.cancel()` gives up the job's place while it waits.
      submitted: when it was put into the queue, by `time.monotonic`.
    """

    request: EditRequest
    seed: int
    progress: Progress | None = None
    future: "Future[EditResult]" = dataclasses.field(default_factory=Future)
    submitted: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def key(self) -> Hashable:
        """Return what the jobs of a batch have in common."""
        return self.request.key(self.seed)


class JobQueue:
    """Jobs in the order in which they came; safe to use from any thread."""

    def __init__(self, size: int, *, max_batch: int, wait: float) -> None:
        """Start empty.

        Args:
          size: most jobs that wait.
          max_batch: most jobs that are taken at once.
          wait: seconds that a job waits for others to share its batch.
        """
        self._size, self._max_batch, self._wait = size, max_batch, wait
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self.batch_seconds = 1.0  # of the last batch, for estimates

    def __len__(self) -> int:
        """Return the number of jobs that wait."""
        with self._changed:
            return len(self._waiting())

    def require_room(self, count: int = 1) -> None:
        """Raise QueueFull unless `count` more jobs can wait."""
        with self._changed:
            self._require_room(count)

    def put(self, jobs: Sequence[Job]) -> None:
        """Add all jobs, or none.

        Raises:
          QueueFull: there is no place for all of them.
        """
        with self._changed:
            self._require_room(len(jobs))
            self._jobs += jobs
            self._changed.notify_all()

    def take(self) -> list[Job]:
        """Wait for a job, and for others that can share its batch; return them as running.

        Returns:
          Jobs of one key, the oldest first; none when the queue is closed.
        """
        with self._changed:
            while not self._is_closed:
                waiting = self._waiting()
                batch = [job for job in waiting if job.key == waiting[0].key][: self._max_batch]
                left = batch[0].submitted + self._wait - time.monotonic() if batch else None
                if batch and (len(batch) == self._max_batch or left <= 0):
                    self._jobs = [job for job in waiting if job not in batch]
                    running = [j for j in batch if j.future.set_running_or_notify_cancel()]
                    if running:
                        return running
                else:
                    self._changed.wait(left)
        return []

    def close(self) -> None:
        """Cancel the jobs that wait, and end `take`."""
        with self._changed:
            self._is_closed = True
            for job in self._jobs:
                job.future.cancel()
            self._jobs = []
            self._changed.notify_all()

    def _waiting(self) -> list[Job]:
        """Return the jobs that wait; those that were cancelled give up their places."""
        self._jobs = [job for job in self._jobs if not job.future.cancelled()]
        return self._jobs

    def _require_room(self, count: int) -> None:
        waiting = len(self._waiting())
        if self._is_closed or waiting + count > self._size:
            batches = math.ceil(waiting / self._max_batch)
            seconds = math.ceil(batches * self.batch_seconds)
            raise QueueFull(min(max(1, seconds), LONGEST))
