"""How far work on rows has come: a bar on a terminal, else a line a minute, on stderr."""

import sys
import time
from typing import Any, Self

_SECONDS = 60  # between lines


class Progress:
    """Counts rows as they are done; a context that clears its bar."""

    def __init__(self, name: str, total: int) -> None:
        """Expect `total` rows of what is called `name`."""
        self._name, self._total, self._done = name, total, 0
        self._said = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        """Begin."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=self._name, total=self._total, leave=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar, also after an error."""
        if self._bar is not None:
            self._bar.close()

    def add(self, rows: int = 1) -> None:
        """Some more rows are done."""
        self._done += rows
        if self._bar is not None:
            self._bar.update(rows)
        elif time.monotonic() - self._said > _SECONDS:
            self._said = time.monotonic()
            print(f"{self._name}: {self._done} of {self._total}", file=sys.stderr, flush=True)
