"""The scores of each sample, in a file with a JSON object per line that a stopped run continues."""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxedit.data import json_lines

_STEM = "per_sample"
WHOLE = f"{_STEM}.jsonl"
Row = dict[str, Any]  # key, type, edit, edit_sha256, scores


class Results:
    """The rows of `per_sample*.jsonl`: one file, and one of each shard.

    The newest line of a sample counts; a line of the whole run's file is newer than all others.
    """

    def __init__(self, folder: pathlib.Path, shard: tuple[int, int] | None = None) -> None:
        """Read the rows that are there; a line cut short when a run was killed is left out.

        Args:
          shard: index and number of the shard whose file is written; None: the whole run's.

        Raises:
          OSError: a file cannot be read.
        """
        self.path = folder / (f"{_STEM}.{shard[0]}-of-{shard[1]}.jsonl" if shard else WHOLE)
        files = sorted(folder.glob(f"{_STEM}.*-of-*.jsonl")) + [folder / WHOLE]
        lines = [line for file in files if file.exists() for line in json_lines.read(file)]
        rows = (line.values for line in lines if not line.error)
        self._rows: dict[str, Row] = {row["key"]: _decoded(row) for row in rows if "key" in row}

    def scores_of(self, key: str, edit_sha256: str) -> dict[str, float]:
        """Return the scores that an edit has; none if the sample had another edit."""
        row = self._rows.get(key, {})
        return row["scores"] if row.get("edit_sha256") == edit_sha256 else {}

    def add(self, row: Row) -> None:
        """Append a row to the file.

        Raises:
          OSError: the file cannot be written.
        """
        is_cut = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * is_cut + json.dumps(_encoded(row)) + "\n")
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

    def rows(self, keys: Iterable[str]) -> list[Row]:
        """Return the rows of these samples, in their order."""
        return [self._rows[key] for key in keys if key in self._rows]


def as_json(number: float) -> float | str:
    """Return a number as JSON holds it; "nan", "inf" and "-inf" are strings."""
    return number if math.isfinite(number) else str(float(number))


def _encoded(row: Row) -> Row:
    return row | {"scores": {name: as_json(value) for name, value in row["scores"].items()}}


def _decoded(row: Row) -> Row:
    return row | {"scores": {name: float(value) for name, value in row["scores"].items()}}
