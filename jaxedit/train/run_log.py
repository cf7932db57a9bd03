"""The log of a run: on the terminal from its first moment on, then in its directory as well."""

import logging
import os
import sys
from types import TracebackType
from typing import Self

log = logging.getLogger("jaxedit")


class RunLog:
    """While open, what the package logs goes to stdout."""

    def __enter__(self) -> Self:
        """Start to print."""
        self._handlers: list[logging.Handler] = []
        self._processes = log.getChild("sharding.distributed")
        self._before = log.propagate, log.level, self._processes.level
        log.propagate = False
        log.setLevel(logging.INFO)
        self._processes.setLevel(logging.INFO)
        self._add(logging.StreamHandler(sys.stdout))
        return self

    def settle(self, workdir: os.PathLike, *, is_first: bool) -> None:
        """Write to log.txt of a local workdir too; processes but the first one only warn from now.

        Every process says who it is, however.
        """
        if not is_first:
            log.setLevel(logging.WARNING)
        elif "://" not in str(workdir):
            self._add(logging.FileHandler(workdir / "log.txt", encoding="utf-8"))

    def _add(self, handler: logging.Handler) -> None:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        self._handlers.append(handler)

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; the package logs as before."""
        for handler in self._handlers:
            log.removeHandler(handler)
            handler.close()
        log.propagate = self._before[0]
        log.setLevel(self._before[1])
        self._processes.setLevel(self._before[2])
