"""Compiled programs and converted weights on disk: where they are, how large, how old."""

import pathlib
import shutil
from typing import NamedTuple

PROGRAMS, WEIGHTS = "compiled programs", "converted weights"
# of the files that JAX writes, and of the file of `compile_times`
PROGRAM_ENDINGS = ("-cache", "-atime", "-seconds.json")


class Kept(NamedTuple):
    """Files that are kept together.

    Attributes:
      kind: `PROGRAMS` or `WEIGHTS`.
      place: folder of the programs, or folder of a converted model.
      paths: what is deleted: the programs' files, or the model's folder.
      size: bytes.
      written: when the newest file was written, in seconds since 1970.
    """

    kind: str
    place: pathlib.Path
    paths: tuple[pathlib.Path, ...]
    size: int
    written: float

    def delete(self) -> None:
        """Delete the files.

        Raises:
          OSError: a file cannot be deleted.
        """
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def kept_programs(directory: pathlib.Path) -> list[Kept]:
    """Return the compiled programs in JAX's cache directory; other files there are left alone."""
    paths = [path for path in _entries(directory) if path.name.endswith(PROGRAM_ENDINGS)]
    return [_kept(PROGRAMS, directory, paths)] if paths else []


def kept_weights(directory: pathlib.Path) -> list[Kept]:
    """Return the converted models in a directory, each with all that lies in its folder."""
    return [_kept(WEIGHTS, path, [path]) for path in _entries(directory)]


def _entries(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _kept(kind: str, place: pathlib.Path, paths: list[pathlib.Path]) -> Kept:
    files = [file for path in paths for file in (path, *path.rglob("*"))]
    states = [file.lstat() for file in files if file.is_symlink() or file.is_file()]
    size = sum(state.st_size for state in states)
    written = max((state.st_mtime for state in states), default=place.lstat().st_mtime)
    return Kept(kind, place, tuple(paths), size, written)
