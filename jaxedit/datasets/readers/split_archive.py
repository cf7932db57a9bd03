"""Tar archives that are published in pieces, read member by member without joining the pieces.

`x.tar.split.000, .001, ...` and `x.tar.gz.part-aa, -ab, ...` are a file cut into pieces. A plain
tar is read in place, through an index of its members. A compressed tar has no random access: it is
decompressed once, to a plain tar in a scratch folder.
"""

import dataclasses
import fcntl
import functools
import glob
import gzip
import hashlib
import io
import json
import os
import pathlib
import posixpath
import shutil
import sys
import tarfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxedit.atomic_write import atomic_write
from jaxedit.datasets.readers.split_file import Piece, find_archives, open_pieces
from jaxedit.progress import progress_bar

_MEMBER = np.dtype([("name", "<u8"), ("offset", "<u8"), ("size", "<u8")])
_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


@dataclasses.dataclass
class Archive:
    """The members of an archive by name; picklable."""

    name: str  # without ".tar" and what follows; begins the names of files in the scratch folder
    paths: Sequence[pathlib.Path]  # pieces in order
    scratch: pathlib.Path  # folder for the index and, if the archive is compressed, the plain tar

    def __reduce__(self) -> tuple:
        """Pickle only the fields; each process memory-maps the index itself."""
        return Archive, (self.name, self.paths, self.scratch)

    @functools.cached_property
    def version(self) -> str:
        """Return a hash of names and sizes of the pieces, which changes as a download continues."""
        facts = repr([(piece.path.name, piece.size) for piece in self._pieces])
        return hashlib.sha256(facts.encode()).hexdigest()[:8]

    @functools.cached_property
    def _pieces(self) -> list[Piece]:
        return [Piece(path, path.stat().st_size) for path in self.paths]

    def prepare(self) -> None:
        """Index the members once, after decompression if necessary; resumes after an interruption.

        Raises:
          OSError: the scratch folder cannot be written, or is too small.
        """
        if self._path("json").exists():
            return
        self.scratch.mkdir(parents=True, exist_ok=True)
        with open(self.scratch / f"{self.name}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be preparing it
            if self._path("json").exists():
                return
            for path in self.scratch.glob(f"{glob.escape(self.name)}-????????.*"):
                if not path.name.startswith(f"{self.name}-{self.version}."):
                    path.unlink()  # made from an earlier, partial download
            with open_pieces(self._pieces) as file:
                is_compressed = file.read(2) == b"\x1f\x8b"
            if is_compressed and not self._path("tar").exists():
                self._decompress()
            self._write_index()

    def read(self, member: str) -> bytes | None:
        """Return a member's bytes, or None if there is no member with this name.

        If all members are in the same folder, its name may be left out.

        Raises:
          OSError: the archive is not prepared or cannot be read.
        """
        for name in (member, posixpath.join(self._facts["folder"], member)):
            row = int(np.searchsorted(self._index["name"], np.uint64(_key(name)), "right")) - 1
            if row >= 0 and self._index["name"][row] == _key(name):
                with open_pieces(self._tar) as file:
                    file.seek(int(self._index["offset"][row]))
                    return file.read(int(self._index["size"][row]))
        return None

    def is_whole(self) -> bool:
        """Tell whether the archive has its end; otherwise members at the end are missing."""
        return self._facts["is_whole"]

    @functools.cached_property
    def _facts(self) -> dict[str, Any]:
        return json.loads(self._path("json").read_text("utf-8"))

    @functools.cached_property
    def _index(self) -> np.ndarray:
        return np.load(self._path("npy"), mmap_mode="r" if self._facts["files"] else None)

    @functools.cached_property
    def _tar(self) -> list[Piece]:
        return self._tar_pieces()

    def _path(self, kind: str) -> pathlib.Path:
        return self.scratch / f"{self.name}-{self.version}.{kind}"

    def _tar_pieces(self) -> list[Piece]:
        tar = self._path("tar")
        return [Piece(tar, tar.stat().st_size)] if tar.exists() else self._pieces

    def _decompress(self) -> None:
        total = sum(piece.size for piece in self._pieces)
        partial = self._path("partial")
        with (
            open_pieces(self._pieces) as packed,
            gzip.GzipFile(fileobj=packed) as stream,
            open(partial, "ab") as out,
            progress_bar(f"{self.name}: decompressing into {self.scratch}", total, unit="B") as bar,
        ):
            free = shutil.disk_usage(self.scratch).free + out.tell()
            if free < total:
                sizes = f"{free / 1e9:.1f} GB free: {self.name} needs {total / 1e9:.1f} GB"
                raise OSError(f"{self.scratch}: {sizes}")
            try:
                stream.seek(out.tell())  # skip what an earlier run has written
                while chunk := stream.read1(_CHUNK):
                    out.write(chunk)
                    bar.update(packed.tell() - bar.n)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                print(f"{self.name}: only the first part can be read: {error}", file=sys.stderr)
            except OSError as error:
                raise OSError(f"{partial}: {error.strerror}: run again to continue") from error
        partial.rename(self._path("tar"))

    def _write_index(self) -> None:
        names, offsets, sizes = array("Q"), array("Q"), array("Q")
        folders = set()
        with open_pieces(self._tar_pieces()) as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            with progress_bar(f"{self.name}: listing members", length, unit="B") as bar:
                members = _Members(file, length)
                for name, offset, size in members:
                    names.append(_key(name))
                    offsets.append(offset)
                    sizes.append(size)
                    folders.add(name.split("/")[0] if "/" in name else "")
                    bar.update(offset - bar.n)
        index = np.empty(len(names), _MEMBER)
        index["name"], index["offset"], index["size"] = names, offsets, sizes
        with atomic_write(self._path("npy")) as part, part.open("wb") as out:
            np.save(out, index[np.argsort(index["name"], kind="stable")])
        facts = {
            "files": len(names),
            "folder": folders.pop() if len(folders) == 1 else "",
            "is_whole": members.is_whole,
        }
        with atomic_write(self._path("json")) as part:
            part.write_text(json.dumps(facts), "utf-8")


def archives_in(folder: pathlib.Path, scratch: pathlib.Path) -> dict[str, Archive]:
    """Return the archives of a folder by their names without ".tar" and what follows.

    Raises:
      ConfigError: a piece is missing between others.
    """
    return {name: Archive(name, paths, scratch) for name, paths in find_archives(folder).items()}


class _Members:
    """An iterable over name, offset and size of a tar's files; sets `is_whole` after the last."""

    def __init__(self, file: io.BufferedReader, length: int) -> None:
        self.is_whole = False
        self._file, self._length = file, length

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        try:
            with tarfile.open(fileobj=self._file, mode="r:", errors="replace") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # tarfile's own list would fill the memory
                    end = member.offset_data + member.size
                    if member.isfile() and end <= self._length:
                        yield _normal(member.name), member.offset_data, member.size
                self._file.seek(tar.offset)
                self.is_whole = self._file.read(_BLOCK) == bytes(_BLOCK)
        except tarfile.TarError:
            return


def _normal(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")


def _key(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
