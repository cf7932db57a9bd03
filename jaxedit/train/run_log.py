"""The log of a run: on the terminal from the start, later in the run's directory as well."""

import logging
import os
import sys

log = logging.getLogger("jaxedit")


class RunLog:
    """While open, the package logs to stdout."""

    def __enter__(self) -> "RunLog":
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
        """Write to log.txt of a local workdir too; from now on only the first process informs.

        The others only warn, except that every process logs who it is.
        """
        if not is_first:
            log.setLevel(logging.WARNING)
        elif "://" not in str(workdir):
            self._add(logging.FileHandler(workdir / "log.txt", encoding="utf-8"))

    def _add(self, handler: logging.Handler) -> None:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        self._handlers.append(handler)

    def __exit__(self, *error: object) -> None:
        """Close the file and restore the package's logging."""
        for handler in self._handlers:
            log.removeHandler(handler)
            handler.close()
        log.propagate = self._before[0]
        log.setLevel(self._before[1])
        self._processes.setLevel(self._before[2])
