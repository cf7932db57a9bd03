"""How far a conversion has come: a bar on a terminal, else a line per shard, on stderr."""

import sys
import time
from typing import Any

from jaxedit.data.convert.report import Report
from jaxedit.data.convert.shard import Job


class Progress:
    """Counts published pieces as they are read; a context that clears its bar."""

    def __init__(self, left: int, total: int) -> None:
        """Expect `left` pieces of `total`; the others lie in finished shards."""
        self._left, self._total = left, total
        self._read: dict[int, int] = {}
        self._counts: dict[int, Report] = {}
        self._started = time.perf_counter()
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        """Begin."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self._total, initial=self._total - self._left, leave=False)
        elif self._left < self._total:
            print(f"{self._total - self._left} of {self._total} pieces are done", file=sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar, also after an error."""
        if self._bar is not None:
            self._bar.close()

    def seen(self, job: Job, report: Report) -> None:
        """A piece of a shard was read; the shard's counts so far."""
        self._counts[job.index] = report
        self._read[job.index] = self._read.get(job.index, 0) + 1
        if self._bar is not None:
            pairs = sum(report.pairs for report in self._counts.values())
            dropped = sum(report.dropped.total() for report in self._counts.values())
            self._bar.set_postfix(pairs=pairs, dropped=dropped, refresh=False)
            self._bar.update()
        elif self._read[job.index] == len(job.parts):
            seconds = time.perf_counter() - self._started
            print(
                f"shard {job.index} after {seconds:.0f} s: {report.pairs} pairs of {report.rows} "
                "rows",
                file=sys.stderr,
                flush=True,
            )
