"""The scores of each sample, kept in a file from which a stopped run continues."""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxedit.data import json_lines
from jaxedit.data.json_log import JsonLog

_STEM = "score_cache"
Row = dict[str, Any]  # key, type, edit, edit_sha256, sample_sha256, scores


def path_of(folder: pathlib.Path, shard: tuple[int, int] | None = None) -> pathlib.Path:
    """Return the path of the scores of whole runs, or of a shard (its index, and their number)."""
    return folder / (f"{_STEM}.{shard[0]}-of-{shard[1]}.jsonl" if shard else f"{_STEM}.jsonl")


class Results:
    """The rows of `score_cache*.jsonl`: a file of whole runs, and a file of each shard.

    The last line of a sample counts; the file of whole runs is read after the shards' files. The
    files may hold more samples, and more scores, than a run asks for.
    """

    def __init__(self, folder: pathlib.Path, shard: tuple[int, int] | None = None) -> None:
        """Read the rows that are there; a line cut short when a run was killed is left out.

        Args:
          shard: index and number of the shard whose file is written; None: the whole run's.

        Raises:
          OSError: a file cannot be read.
        """
        self._log = JsonLog(path_of(folder, shard))
        self._log.lines()  # removes a line that was cut short
        files = sorted(folder.glob(f"{_STEM}.*-of-*.jsonl")) + [path_of(folder)]
        lines = [line for file in files if file.exists() for line in json_lines.read(file)]
        rows = (line.values for line in lines if not line.error)
        self._rows: dict[str, Row] = {row["key"]: _decoded(row) for row in rows if "key" in row}

    def scores_of(self, row: Row) -> dict[str, float] | None:
        """Return the scores that an edit has; None if it was not read yet.

        Args:
          row: with the hashes of what is compared; kept scores of other pictures do not count.
        """
        names = ("edit_sha256", "sample_sha256")
        kept = self._rows.get(row["key"], {})
        return kept["scores"] if all(kept.get(n) == row[n] for n in names) else None

    def add(self, row: Row) -> None:
        """Append a row to the file.

        Raises:
          OSError: the file cannot be written.
        """
        self._log.append(encoded(row))
        self._rows[row["key"]] = row

    def update(self, key: str, scores: Mapping[str, float], *, forget: Sequence[str] = ()) -> None:
        """Change the scores of a sample: forget some, then set those given.

        Raises:
          OSError: the file cannot be written.
        """
        row = self._rows[key]
        kept = {name: value for name, value in row["scores"].items() if name not in forget}
        if (changed := kept | dict(scores)) != row["scores"]:
            self.add(row | {"scores": changed})

    def rows(self, keys: Iterable[str], names: Iterable[str]) -> list[Row]:
        """Return the rows of samples, in their order, with the scores of these names."""
        names = list(names)
        rows = [self._rows[key] for key in keys]
        return [
            row | {"scores": {name: row["scores"][name] for name in names if name in row["scores"]}}
            for row in rows
        ]


def as_json(number: float) -> float | str:
    """Return a number as JSON holds it; "nan", "inf" and "-inf" are strings."""
    return number if math.isfinite(number) else str(float(number))


def encoded(row: Row) -> Row:
    """Return a row as JSON holds it."""
    return row | {"scores": {name: as_json(value) for name, value in row["scores"].items()}}


def json_text(rows: Iterable[Row]) -> str:
    """Return the content of `per_sample.jsonl`: a line for each row."""
    return "".join(f"{json.dumps(encoded(row))}\n" for row in rows)


def _decoded(row: Row) -> Row:
    return row | {"scores": {name: float(value) for name, value in row["scores"].items()}}
