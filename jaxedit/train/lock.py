"""A lock on the directory of a run, so that two runs never write into the same directory.

On one machine the operating system holds the lock (`flock`) and releases it when the process ends,
however it ends. Between machines and in buckets that is not reliable. The holder therefore also
writes a new number into the lock file every few seconds, and a process that finds the note of
another machine watches for a while whether the number changes. Clocks are never compared.
"""

import contextlib
import errno
import json
import logging
import os
import secrets
import socket
import time
import uuid
from typing import Any

from etils import epath

from jaxedit.config import ConfigError
from jaxedit.train.repeating import repeating

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"
PERIOD = 10.0  # seconds between two numbers
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

log = logging.getLogger(__name__)


class Lock:
    """Held while open; opening it raises ConfigError if another run holds it."""

    def __init__(self, directory: epath.Path, *, period: float = PERIOD) -> None:
        """Prepare the lock of an existing directory; its holder writes every `period` seconds."""
        self._path, self._period = directory / NAME, period
        self._note = {
            "host": socket.gethostname(),
            "machine": f"{socket.gethostname()} {uuid.getnode():x}",
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "key": secrets.token_hex(8),
            "number": 0,
        }
        self._file: int | None = None  # descriptor that flock holds
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Lock":
        """Take the lock.

        Raises:
          ConfigError: another run holds it; the message names the run.
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
        self._stack.enter_context(repeating(self._renew, self._period))
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock."""
        self._stack.close()
        if self._read().get("key") == self._note["key"]:
            self._path.unlink(missing_ok=True)
        self._close()

    def _flock(self) -> int | None:
        """Lock the file and return its descriptor; None if the storage has no such locks."""
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
        """Wait until the writer of `note`, if it is alive, must have written again."""
        patience, host = 3 * self._period, note.get("host")
        log.info("a run on %s may be alive: watching for %.0f s whether it writes", host, patience)
        end = time.monotonic() + patience
        while time.monotonic() < end and self._path.exists():
            time.sleep(self._period / 10)
            found = self._read()
            self._require(not found or found == note, found)

    def _renew(self) -> bool:
        """Write the next number; return False if another run has taken the lock."""
        with contextlib.suppress(Exception):  # of any storage; the next time it may work
            found = self._read()
            if found and found.get("key") != self._note["key"]:
                log.error("%s: end one of the two", self._text(found))
                return False
            self._note["number"] += 1
            self._write()
        return True

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
