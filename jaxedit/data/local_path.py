"""Data lie in directories of this machine: pictures are read from the middle of large files."""

import os
import re

from jaxedit.config import require

_ADDRESS = re.compile(r"\w{2,}:/")  # pathlib takes one of two slashes


def require_local(path: str | os.PathLike, option: str) -> None:
    """Check that a path of data is no address.

    Args:
      path: of a file or directory, which need not exist.
      option: for the message.

    Raises:
      ConfigError: it is one, for example gs://bucket/stores.
    """
    require(
        not _ADDRESS.match(os.fspath(path)),
        f"{option}={path}: expected a local path; copy it here, or mount the bucket (gcsfuse)",
    )
