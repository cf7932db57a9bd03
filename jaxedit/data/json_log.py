"""A file of JSON objects that grows line by line, from which a killed run continues."""

import io
import json
import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any


class JsonLog:
    """A file with a JSON object per line; safe to share between threads."""

    def __init__(self, path: pathlib.Path) -> None:
        """Set the path of the file, which need not exist."""
        self.path = path
        self._lock = threading.Lock()

    def lines(self) -> list[str]:
        """Return the lines; remove a last line that a killed process did not finish.

        Raises:
          OSError: the file cannot be read.
        """
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        length = data.rfind(b"\n") + 1
        if length < len(data):
            os.truncate(self.path, length)
        return data[:length].decode("utf-8", "replace").split("\n")[:-1]

    def append(self, values: Mapping[str, Any]) -> None:
        """Append an object by a single write.

        Raises:
          OSError: the file cannot be written; it is left as it was.
        """
        line = f"{json.dumps(values)}\n".encode()
        try:
            with self._lock, self.path.open("ab", buffering=0) as file:
                _write(file, line)
        except OSError as error:
            raise OSError(f"{self.path}: not written: {error.strerror}") from error


def _write(file: io.FileIO, line: bytes) -> None:
    """Write a whole line or nothing: a disk that is nearly full takes only a part of a write."""
    end = file.seek(0, os.SEEK_END)
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        file.truncate(end)
        raise
