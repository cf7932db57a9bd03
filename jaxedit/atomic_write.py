"""Files and directories that are replaced as a whole, or not at all."""

import contextlib
import glob
import itertools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TypeVar

from etils import epath

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Path = TypeVar("Path", pathlib.Path, epath.Path)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there replaces `path` when the block ends well.

    Args:
      path: the file to write, local or gs://; need not exist.

    Raises:
      OSError: the file cannot be written, or the block raises OSError; the message names `path`.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OSError(f"{path}: not written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def free_name(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield `path`, or path-2, path-3, ..., whichever is free first; an empty file takes the name.

    Two processes never get the same name. The file is removed if the block fails.

    Raises:
      OSError: no file can be made there.
    """
    for number in itertools.count(1):
        name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with contextlib.suppress(FileExistsError):
            name.touch(exist_ok=False)
            break
    try:
        yield name
    except BaseException:
        name.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_write_directory(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield an empty directory that replaces `target` when the block ends well.

    When the block fails, the new directory is removed and an earlier `target` is untouched. A
    process that is killed leaves its new directory behind; the next process that writes the same
    `target` removes it. Processes tell living from dead ones by a lock on the directory, which the
    system releases when its process dies.

    Args:
      target: local directory; need not exist.

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
    """Remove what killed processes left of `target`; restore `target` if they had moved it away."""
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
    """Return a descriptor that locks the directory until it is closed, or None."""
    if fcntl is None:
        return None
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
