"""A lock on the directory of a run, so that two runs never write into one directory.

On one machine the operating system holds the lock (`flock`): it ends with its process, however that
ends. Between machines, and in buckets, that is not certain everywhere. So the holder also writes a
new number into the lock file every few seconds, and a process that finds the note of another
machine watches for a while whether the number changes. No clock is compared with another one.
"""

import contextlib
import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

from etils import epath

from jaxedit.config import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"
PERIOD = 10.0  # seconds between two numbers
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

log = logging.getLogger(__name__)


class Lock:
    """Held while open; entering it raises ConfigError if another run holds it."""

    def __init__(self, directory: epath.Path, *, period: float = PERIOD) -> None:
        """A lock on a directory that is there; its holder writes every `period` seconds."""
        self._path = directory / NAME
        self._period = period
        self._note = {
            "host": socket.gethostname(),
            "machine": f"{socket.gethostname()} {uuid.getnode():x}",
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "key": secrets.token_hex(8),
            "number": 0,
        }
        self._file: int | None = None  # what flock holds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
          ConfigError: another run has it; the message says which.
        """
        if fcntl and "://" not in str(self._path):
            self._file = self._flock()
        note = self._read()
        is_over = self._file is not None and note.get("machine") == self._note["machine"]
        if note and not is_over:
            self._watch(note)
        self._write()
        if self._file is None:  # did another process write at the same moment?
            time.sleep(self._period / 10)
            found = self._read()
            self._require(found.get("key") == self._note["key"], found)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back."""
        self._closing.set()
        self._thread.join()
        if self._read().get("key") == self._note["key"]:
            self._path.unlink(missing_ok=True)
        self._close()

    def _flock(self) -> int | None:
        """Lock the file and return its descriptor; None where the storage knows no such locks."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), os.stat(self._path)):
                    return file
            except FileNotFoundError:  # its holder has just removed it
                pass
            except BlockingIOError:
                os.close(file)
                self._require(False, self._read())
            except OSError as error:
                os.close(file)
                if error.errno in UNSUPPORTED:
                    return None
                raise
            os.close(file)

    def _watch(self, note: dict[str, Any]) -> None:
        """Wait until the writer of `note` must have written again, if it lives."""
        patience = 3 * self._period
        log.info(
            "a run on %s may still be here: watching for %.0f s whether it writes",
            *(note.get("host"), patience),
        )
        end = time.monotonic() + patience
        while time.monotonic() < end and self._path.exists():
            time.sleep(self._period / 10)
            found = self._read()
            self._require(not found or found == note, found)

    def _live(self) -> None:
        """Write a new number again and again."""
        while not self._closing.wait(self._period):
            with contextlib.suppress(Exception):  # of any storage; the next time it may work
                found = self._read()
                if found and found.get("key") != self._note["key"]:
                    log.error("%s: end one of the two", self._text(found))
                    return
                self._note["number"] += 1
                self._write()

    def _read(self) -> dict[str, Any]:
        """Return the note in the lock file; {} if there is none."""
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # ValueError: it is being written
            return {}

    def _write(self) -> None:
        text = json.dumps(self._note)
        if self._file is None:
            self._path.write_text(text, encoding="utf-8")
        else:
            os.pwrite(self._file, text.encode(), 0)
            os.ftruncate(self._file, len(text))
            os.fsync(self._file)  # so that other machines see it

    def _require(self, condition: bool, note: dict[str, Any]) -> None:
        if not condition:
            self._close()
            raise ConfigError(f"{self._text(note)}: end it or choose another --workdir")

    def _text(self, note: dict[str, Any]) -> str:
        which = "process {process} on {host}, since {since}".format_map(note) if note else "new"
        return f"another run trains in {self._path.parent} ({which})"

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
