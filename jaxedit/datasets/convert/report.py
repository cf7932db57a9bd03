"""What became of published rows: counts that add up over the shards of a store."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

from jaxedit.atomic_write import atomic_write

_NAMED = 3  # rows of each reason that a report names


@dataclasses.dataclass
class Report:
    """Counts of one shard, or of a store.

    Attributes:
      pairs: written.
      dropped: number of rows by reason.
      examples: by reason, the keys of the first few of them.
      tasks: number of pairs by task.
      masks: pairs that have one.
      reshaped: pairs whose target had other proportions than its source, which it took.
      bytes: of the shards.
      unreadable: one line about each published piece that could not be read to its end.
    """

    pairs: int = 0
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    tasks: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    masks: int = 0
    reshaped: int = 0
    bytes: int = 0
    unreadable: list[str] = dataclasses.field(default_factory=list)

    @property
    def rows(self) -> int:
        """Published rows that were read."""
        return self.pairs + self.dropped.total()

    def drop(self, key: str, reason: str) -> None:
        """Count a row that is not a pair to train on."""
        self.dropped[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < _NAMED:
            named.append(key)

    def as_json(self) -> dict[str, Any]:
        """JSON values, the most frequent first."""
        return vars(self) | {name: dict(getattr(self, name).most_common()) for name in _COUNTERS}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Report":
        """What `as_json` gave."""
        return cls(**values | {name: collections.Counter(values[name]) for name in _COUNTERS})

    @classmethod
    def total(cls, reports: Iterable["Report"]) -> "Report":
        """The sum, which names the first rows."""
        whole = cls()
        for report in reports:
            whole.pairs += report.pairs
            whole.masks += report.masks
            whole.reshaped += report.reshaped
            whole.bytes += report.bytes
            whole.dropped += report.dropped
            whole.tasks += report.tasks
            whole.unreadable += report.unreadable
            for reason, keys in report.examples.items():
                whole.examples[reason] = [*whole.examples.get(reason, ()), *keys][:_NAMED]
        return whole

    def summary(self) -> str:
        """The counts as one line."""
        text = f"{self.pairs} pairs of {self.rows} rows, {self.bytes / 1e6:.1f} MB"
        reasons = (f"{count} {reason}" for reason, count in self.dropped.most_common())
        if self.reshaped:
            text += f"; {self.reshaped} targets took the shape of their sources"
        return f"{text}; dropped: {', '.join(reasons)}" if self.dropped else text


_COUNTERS = ("dropped", "tasks")


def write_json(path: pathlib.Path, values: Any) -> None:
    """Replace a JSON file as a whole.

    Raises:
      OSError: it cannot be written.
    """
    with atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
