"""The files of a store and of the conversion that fills it.

<dataset>-train.array_record-00000-of-00016 ...   the shards, each under its name once it is whole
dataset_info.json, features.json ...              TFDS's metadata, without which there is no store
report.json                                       what was converted and what was dropped
conversion/settings.json                          of the conversion; a resumed one has the same
conversion/00000.json, 00000.npy ...              report and target hashes of the whole shards
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxedit.config import ConfigError, require
from jaxedit.data.record import SPLIT
from jaxedit.data.store import METADATA
from jaxedit.datasets.convert.report import Report, write_json


@dataclasses.dataclass(frozen=True)
class Folder:
    """A store that is being made.

    Attributes:
      path: the store's directory.
      dataset: its name.
      shards: how many there will be.
    """

    path: pathlib.Path
    dataset: str
    shards: int

    @property
    def work(self) -> pathlib.Path:
        """Where the conversion keeps its own files."""
        return self.path / "conversion"

    def shard(self, index: int) -> pathlib.Path:
        """The file of a shard, whose name TFDS can parse."""
        name = self.dataset.replace("-", "_")
        return self.path / f"{name}-{SPLIT}.array_record-{index:05}-of-{self.shards:05}"

    def begin(self, settings: dict[str, Any], *, overwrite: bool) -> None:
        """Make the directory, or check that the conversion in it has the same settings.

        Args:
          settings: JSON values, by the names of the options.
          overwrite: begin again if it has others.

        Raises:
          ConfigError: the directory holds another conversion, or something else.
          OSError: nothing can be written there.
        """
        path = self.work / "settings.json"
        if path.exists():
            changed = _changed(settings, _read_settings(path))
            if not changed and not overwrite:
                return
            require(
                overwrite,
                f"--out={self.path}: its conversion has {changed}: expected the same, another "
                "--out, or --overwrite",
            )
            self._remove()
        others = [p.name for p in self.path.iterdir()]
        require(not others, f"--out={self.path}: expected a new directory, found {others[:3]}")
        self.work.mkdir()
        write_json(path, settings)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other conversions out, and remove what killed ones left behind.

        Raises:
          OSError: another one is running, or the directory cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"--out={self.path}: {error.strerror}: expected a directory") from error
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OSError(f"--out={self.path}: another conversion writes there") from error
            except OSError:  # a file system without locks
                pass
            for part in self.work.glob(".*.part"):
                part.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)

    def part(self, index: int) -> pathlib.Path:
        """A temporary name for a shard that is being written."""
        return self.work / f".{index:05}.{os.getpid()}.part"

    def commit(self, index: int, part: pathlib.Path, report: Report, hashes: np.ndarray) -> None:
        """Give a whole shard its name; its report, written last, says that it is whole."""
        with part.open("rb") as file:
            os.fsync(file.fileno())
        self._report(index).unlink(missing_ok=True)
        np.save(self.work / f"{index:05}.npy", hashes)
        part.replace(self.shard(index))
        write_json(self._report(index), report.as_json())

    def report_of(self, index: int) -> Report | None:
        """The report of a whole shard; None if there is none."""
        try:
            report = Report.from_json(json.loads(self._report(index).read_text(encoding="utf-8")))
            return report if self.shard(index).stat().st_size == report.bytes else None
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def duplicate_targets(self) -> int:
        """How many pairs have the same published target as an earlier one."""
        paths = [self.work / f"{index:05}.npy" for index in range(self.shards)]
        hashes = np.concatenate([np.load(path) for path in paths])
        return len(hashes) - len(np.unique(hashes))

    def _report(self, index: int) -> pathlib.Path:
        return self.work / f"{index:05}.json"

    def _remove(self) -> None:
        (self.path / METADATA).unlink(missing_ok=True)  # first, so that what is left is no store
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _changed(settings: dict[str, Any], earlier: dict[str, Any]) -> str:
    """Settings that were others, as words."""
    return ", ".join(
        f"{name}={earlier.get(name)} instead of {value}"
        for name, value in settings.items()
        if value != earlier.get(name)
    )


def _read_settings(path: pathlib.Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: damaged: expected JSON; remove the directory") from error
    require(isinstance(settings, dict), f"{path}: expected an object; remove the directory")
    return settings
