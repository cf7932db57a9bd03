"""A directory that is replaced as a whole, or not at all."""

import contextlib
import fcntl
import glob
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty directory beside `target` that takes its place when the block ends well.

    When the block fails, the new directory is removed and an earlier `target` is untouched. A
    process that is killed leaves its new directory behind; the next one with the same `target`
    removes it. Both tell by a lock, which the system takes back from a dead process.

    Raises:
      OSError: nothing can be written there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clean(target)
    new = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    old = new.with_name(new.name.replace(".new-", ".old-"))
    lock = _lock(new)
    try:
        new.chmod(0o755)  # mkdtemp lets only the owner read
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _clean(target: pathlib.Path) -> None:
    """Remove, and perhaps take back, what killed processes left of this target."""
    name = glob.escape(target.name)
    for old in target.parent.glob(f".{name}.old-*"):
        if not target.exists():  # killed between two renames
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    for new in target.parent.glob(f".{name}.new-*"):
        lock = _lock(new)
        if lock is not None:
            shutil.rmtree(new, ignore_errors=True)
            os.close(lock)


def _lock(directory: pathlib.Path) -> int | None:
    """A descriptor that locks the directory until it is closed, or None."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:  # its process has just finished
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by a living process, or a file system without locks
        os.close(descriptor)
        return None
    return descriptor
