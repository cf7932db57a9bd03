"""Locks of files and folders, which the system releases when their process ends."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def locked(path: pathlib.Path, taken: str = "", *, is_shared: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, or of a file, which is created if it does not exist.

    On a file system without locks nothing is locked.

    Args:
      taken: message if another process holds the lock; empty: wait for that process.
      is_shared: other processes may hold the lock too, if they share it.

    Raises:
      OSError: another process holds the lock, or the file cannot be opened.
    """
    # network file systems lock exclusively only what is open for writing
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o644)
    try:
        if fcntl:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB if taken else kind)
            except BlockingIOError as error:
                raise OSError(taken) from error
            except OSError:  # a file system without locks
                pass
        yield
    finally:
        os.close(descriptor)
