"""The check that data are on a local disk, because pictures are read at random positions."""

import os
import re

from jaxedit.config import require

_ADDRESS = re.compile(r"\w{2,}:/")  # one slash: pathlib removes the other


def require_local(path: str | os.PathLike, option: str) -> None:
    """Check that a path of data is local, not an address such as gs://bucket/stores.

    Args:
      path: path of a file or directory, which need not exist.
      option: name of the option, for the message.

    Raises:
      ConfigError: the path is an address.
    """
    require(
        not _ADDRESS.match(os.fspath(path)),
        f"{option}={path}: expected a local path; copy it here, or mount the bucket (gcsfuse)",
    )
