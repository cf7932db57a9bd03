"""The report of a conversion: counts of rows that add up over the shards of a store."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

from jaxedit.atomic_write import atomic_write

_NAMED = 3  # number of example rows for each reason


@dataclasses.dataclass
class Report:
    """Counts for a shard, or for a store."""

    pairs: int = 0  # pairs written
    # dropped rows by reason
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    # by reason, the keys of the first few dropped rows
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    # pairs by task
    tasks: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    masks: int = 0  # pairs with a mask
    reshaped: int = 0  # pairs whose target was resized to other proportions, of its source
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


_COUNTERS = ("dropped", "tasks")


def write_json(path: pathlib.Path, values: Any) -> None:
    """Write a JSON file atomically.

    Raises:
      OSError: the file cannot be written.
    """
    with atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
