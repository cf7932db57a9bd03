"""How far reading or writing weights has come: a bar on a terminal, else a line per network."""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class ProgressBar:
    """Sees arrays go by and tells how far they are, on stderr; a context that clears its bar."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._left: dict[str, int] = {}
        self._started = time.perf_counter()
        self._bar: Any = None

    def __enter__(self) -> "ProgressBar":
        """Begin to watch."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def expect(self, bytes_of: Mapping[str, int]) -> None:
        """Say how many bytes of further networks will go by."""
        from tqdm import tqdm

        self._left |= bytes_of
        total = sum(bytes_of.values())
        if self._bar is not None:
            self._bar.total += total
        elif sys.stderr.isatty():
            self._bar = tqdm(total=total, unit="B", unit_scale=True, leave=False)

    def seen(self, network: str, count: int) -> None:
        """Count bytes of a network that went by."""
        self._left[network] -= count
        if self._bar is not None:
            self._bar.set_description(network, refresh=False)
            self._bar.update(count)
            if not any(self._left.values()):
                self.__exit__()
        elif not self._left[network]:
            seconds = time.perf_counter() - self._started
            print(f"{network}: done after {seconds:.1f} s", file=sys.stderr, flush=True)

    def arrays(self, arrays: Mapping[str, Any], network: str = "") -> dict[str, Any]:
        """The same arrays, which are seen as their chunks are taken.

        Args:
          arrays: by name; each has a shape, a dtype and `chunks()`.
          network: to which they belong; empty: the first component of each name.
        """
        sizes: dict[str, int] = {}
        seen = {}
        for name, array in arrays.items():
            owner = network or name.split("/")[0]
            sizes[owner] = sizes.get(owner, 0) + nbytes(array)
            seen[name] = _Seen(array, owner, self)
        self.expect(sizes)
        return seen


def nbytes(array: Any) -> int:
    """Bytes of anything with a shape and a dtype."""
    return math.prod(array.shape) * np.dtype(array.dtype).itemsize


class _Seen:
    """An array whose chunks are counted."""

    def __init__(self, array: Any, network: str, watch: ProgressBar) -> None:
        self.shape, self.dtype = tuple(array.shape), array.dtype
        self._array, self._network, self._watch = array, network, watch

    def chunks(self) -> Iterator[np.ndarray]:
        for chunk in self._array.chunks():
            yield chunk
            self._watch.seen(self._network, chunk.nbytes)
