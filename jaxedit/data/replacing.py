"""A file that is replaced as a whole, or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary name beside `path` that takes its place when the block ends well.

    Raises:
      OSError: it cannot be written, or the block raises one; the message names `path`.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OSError(f"{path}: not written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
