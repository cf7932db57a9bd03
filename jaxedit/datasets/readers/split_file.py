"""Files that are published in pieces: `x.tar.split.000, .001, ...`, `x.tar.gz.part-aa, ...`."""

import bisect
import io
import itertools
import os
import pathlib
import re
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxedit.config import require

_NAME = re.compile(r"(?P<stem>.+?)(\.tar|\.tar\.gz|\.tgz)(\.(split|part)[.\-_](?P<label>\w+))?")


class Piece(NamedTuple):
    """A piece of an archive."""

    path: pathlib.Path
    size: int  # bytes


class SplitFile(io.RawIOBase):
    """A seekable file that consists of several files, one after another."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """Store the pieces without opening them."""
        self._pieces = list(pieces)
        self._ends = list(itertools.accumulate(piece.size for piece in pieces))
        self._position = 0
        self._number, self._file = -1, None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte, and return its position from the start."""
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ends[-1]}
        self._position = starts[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, at most to the end of a piece, and return the number of bytes."""
        number = bisect.bisect_right(self._ends, self._position)
        if number == len(self._pieces):
            return 0
        if number != self._number:
            self._close_piece()
            self._file = open(self._pieces[number].path, "rb", buffering=0)
            self._number = number
        self._file.seek(self._position - (self._ends[number] - self._pieces[number].size))
        count = self._file.readinto(buffer)
        self._position += count
        return count

    def close(self) -> None:
        """Close the piece that is open."""
        self._close_piece()
        super().close()

    def _close_piece(self) -> None:
        if self._file is not None:
            self._file.close()
        self._number, self._file = -1, None


def open_pieces(pieces: Sequence[Piece]) -> io.BufferedReader:
    """Open the pieces as a buffered, seekable file."""
    return io.BufferedReader(SplitFile(pieces))


def find_archives(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Return the pieces, in order, of each archive in a folder, by name without ".tar" and so on.

    Raises:
      ConfigError: a piece is missing between others.
    """
    found: dict[str, dict[str, pathlib.Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault(match["stem"], {})[match["label"] or ""] = path
    pieces = {}
    for stem, labelled in found.items():
        if len(labelled) > 1:
            labelled.pop("", None)  # the user joined the pieces, perhaps not all of them
        labels = sorted(labelled, key=lambda label: (int(label) if label.isdigit() else 0, label))
        _check_pieces(labelled[labels[0]], labels)
        pieces[stem] = [labelled[label] for label in labels]
    return pieces


def _check_pieces(first: pathlib.Path, labels: Sequence[str]) -> None:
    width = len(labels[0])
    if all(label.isdigit() for label in labels):
        start = min(int(labels[0]), 1)
        expected = [str(start + i).zfill(width) for i in range(len(labels))]
    elif all(len(label) == width for label in labels):
        letters = itertools.product(string.ascii_lowercase, repeat=width)
        expected = ["".join(label) for label in itertools.islice(letters, len(labels))]
    else:  # no label, or labels of several lengths, as when 'zz' is followed by 'aaa'
        return
    for label in expected:
        missing = first.name.removesuffix(labels[0]) + label
        require(label in labels, f"{first.parent}: {missing} is missing: expected all pieces")
