"""The files of a store, and of the conversion that writes them, with reports of its counts.

<dataset>-train.array_record-00000-of-00016 ...   the shards, renamed to this when complete
dataset_info.json, features.json ...              TFDS's metadata, written last
report.json                                       what was converted and what was dropped
conversion/settings.json                          settings, which a resumed conversion must share
conversion/00000.json, 00000.npy ...              report and target hashes of complete shards
"""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jaxedit.atomic_write import atomic_write
from jaxedit.config import ConfigError, require
from jaxedit.data.record import SPLIT
from jaxedit.data.store import METADATA
from jaxedit.file_lock import locked

_NAMED = 3  # number of example rows for each reason
_COUNTERS = ("dropped", "tasks")


@dataclasses.dataclass
class Report:
    """Counts of rows for a shard, or for a store, to which the counts of its shards add up."""

    pairs: int = 0  # pairs written
    # dropped rows by reason
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    # by reason, the keys of the first few dropped rows
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    # pairs by task
    tasks: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    masks: int = 0  # pairs with a mask
    reshaped: int = 0  # pairs whose target was resized to the proportions of its source
    bytes: int = 0  # size of the shards
    # a line for each published piece that could not be read to its end
    unreadable: list[str] = dataclasses.field(default_factory=list)

    @property
    def rows(self) -> int:
        """Return the number of published rows that were read."""
        return self.pairs + self.dropped.total()

    def drop(self, key: str, reason: str) -> None:
        """Count a row that is not a pair for training."""
        self.dropped[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < _NAMED:
            named.append(key)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values; most frequent reasons and tasks first."""
        return vars(self) | {name: dict(getattr(self, name).most_common()) for name in _COUNTERS}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Report":
        """Return the report that `as_json` converted."""
        return cls(**values | {name: collections.Counter(values[name]) for name in _COUNTERS})

    @classmethod
    def total(cls, reports: Iterable["Report"]) -> "Report":
        """Add up reports; the sum names the first rows."""
        whole = cls()
        for report in reports:
            for name in vars(whole).keys() - {"examples"}:  # numbers, counters and lists
                setattr(whole, name, getattr(whole, name) + getattr(report, name))
            for reason, keys in report.examples.items():
                whole.examples[reason] = [*whole.examples.get(reason, ()), *keys][:_NAMED]
        return whole

    def summary(self) -> str:
        """Return the counts as a line of text."""
        text = f"{self.pairs} pairs of {self.rows} rows, {self.bytes / 1e6:.1f} MB"
        reasons = (f"{count} {reason}" for reason, count in self.dropped.most_common())
        if self.reshaped:
            text += f"; {self.reshaped} targets took the shape of their sources"
        return f"{text}; dropped: {', '.join(reasons)}" if self.dropped else text


@dataclasses.dataclass(frozen=True)
class Folder:
    """The directory of a store that is being written."""

    path: pathlib.Path
    dataset: str  # name of the data set
    shards: int  # number of shards of the finished store

    @property
    def work(self) -> pathlib.Path:
        """Return the directory of the conversion's own files."""
        return self.path / "conversion"

    def shard(self, index: int) -> pathlib.Path:
        """Return the path of a shard, whose name TFDS can parse."""
        name = self.dataset.replace("-", "_")
        return self.path / f"{name}-{SPLIT}.array_record-{index:05}-of-{self.shards:05}"

    def begin(self, settings: dict[str, Any], *, overwrite: bool) -> None:
        """Create the directory, or check that the conversion in it has the same settings.

        Args:
          settings: JSON values, by the names of the options.
          overwrite: delete a conversion with other settings.

        Raises:
          ConfigError: the directory contains another conversion, or other files.
          OSError: the directory is not writable.
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
        """Keep other conversions out, and remove partial files that killed conversions left.

        Raises:
          OSError: another conversion is running, or the directory cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"--out={self.path}: {error.strerror}: expected a directory") from error
        with locked(self.path, f"--out={self.path}: another conversion writes there"):
            for part in self.work.glob(".*.part"):
                part.unlink(missing_ok=True)
            yield

    def part(self, index: int) -> pathlib.Path:
        """Return a temporary path for a shard that is being written."""
        return self.work / f".{index:05}.{os.getpid()}.part"

    def commit(self, index: int, part: pathlib.Path, report: Report, hashes: np.ndarray) -> None:
        """Rename a complete shard to its final name; its report, written last, marks it so."""
        with part.open("rb") as file:
            os.fsync(file.fileno())
        self._report(index).unlink(missing_ok=True)
        np.save(self.work / f"{index:05}.npy", hashes)
        part.replace(self.shard(index))
        write_json(self._report(index), report.as_json())

    def report_of(self, index: int) -> Report | None:
        """Return the report of a complete shard, or None for a shard that is not complete."""
        try:
            report = Report.from_json(json.loads(self._report(index).read_text(encoding="utf-8")))
            return report if self.shard(index).stat().st_size == report.bytes else None
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def duplicate_targets(self) -> int:
        """Count the pairs whose published target equals the target of an earlier pair."""
        paths = [self.work / f"{index:05}.npy" for index in range(self.shards)]
        hashes = np.concatenate([np.load(path) for path in paths])
        return len(hashes) - len(np.unique(hashes))

    def _report(self, index: int) -> pathlib.Path:
        return self.work / f"{index:05}.json"

    def _remove(self) -> None:
        # First, so that the remaining files are never taken for a store.
        (self.path / METADATA).unlink(missing_ok=True)
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _changed(settings: dict[str, Any], earlier: dict[str, Any]) -> str:
    """Describe the settings that differ from the earlier settings."""
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


def write_json(path: pathlib.Path, values: Any) -> None:
    """Write a JSON file atomically.

    Raises:
      OSError: the file cannot be written.
    """
    with atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
