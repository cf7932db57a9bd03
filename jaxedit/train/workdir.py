"""The directory of a run: created, locked, and removed again if the run never began."""

import contextlib
import pathlib

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from jaxedit.config import ConfigError
from jaxedit.sharding import distributed
from jaxedit.train.lock import Lock

# Names that a run writes before its first step.
BEGINNINGS = {"config.json", "log.txt", "metrics.jsonl", "checkpoints"}


class Workdir:
    """While open, no other run can write into the directory.

    The first process of the run creates and locks it for all. A new directory is removed again if
    the run ends with an error before its first step.
    """

    def __init__(self, path: str) -> None:
        """Take a directory, local or gs://..."""
        self.path = epath.Path(path).absolute()
        self._new: list[pathlib.Path] = []  # directories that were created, the innermost first
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Workdir":
        """Create and lock the directory.

        Raises:
          ConfigError, OSError: it cannot be created, another run is in it, or not all processes
            see the same directory.
        """
        failure: Exception | None = None
        if jax.process_index() == 0:
            try:
                self._make()
                self._stack.enter_context(Lock(self.path))
            except (ConfigError, OSError) as error:
                failure = error
        if jax.process_count() > 1:
            is_good = multihost_utils.broadcast_one_to_all(np.asarray(failure is None))
            if not is_good and failure is None:
                failure = ConfigError(f"--workdir={self.path}: process 0 cannot train there")
        try:
            if failure:
                raise failure
            distributed.check_is_shared(self.path)
        except (ConfigError, OSError):
            self.leave()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Unlock the directory; see `leave` for errors in the input."""
        self._stack.close()
        if isinstance(error, ConfigError | OSError):
            self.leave()

    def leave(self) -> None:
        """Unlock the directory; remove it if it was created here and nothing was trained in it."""
        self._stack.close()
        if not self._new or not self._is_unused():
            return
        with contextlib.suppress(OSError):  # another program may write there
            for path in self._new[0].iterdir():
                path.rmdir() if path.is_dir() else path.unlink()
            for directory in self._new:
                directory.rmdir()

    def _make(self) -> None:
        if "://" not in str(self.path):
            parents = [pathlib.Path(self.path), *pathlib.Path(self.path).parents]
            self._new = [path for path in parents if not path.exists()]
        self.path.mkdir(parents=True, exist_ok=True)

    def _is_unused(self) -> bool:
        if not self._new[0].exists():
            return True
        found = {path.name: path for path in self._new[0].iterdir()}
        is_known = found.keys() <= BEGINNINGS
        reports, kept = found.get("metrics.jsonl"), found.get("checkpoints")
        is_begun = (reports and reports.stat().st_size) or (kept and any(kept.iterdir()))
        return is_known and not is_begun
