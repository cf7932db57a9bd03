"""A folder of results: the means that `python -m jaxedit.evaluate` wrote to summary.json."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxedit.config import ConfigError, require
from jaxedit.evaluate.tables.published import Column

_TOYBOX = "toybox"


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of a score over samples."""

    value: float
    n_inf: int = 0  # infinite values, which the mean leaves out


@dataclasses.dataclass(frozen=True)
class Folder:
    """The numbers of a summary; toybox stands for PIE-Bench, and its checker for the judge."""

    path: pathlib.Path
    evaluated: str  # the benchmark
    edits: str  # the model, or the folder of another program
    count: int  # edits that were scored
    means: Mapping[tuple[str, str], Mean]  # by score and type of samples; "" is all types
    absent: Mapping[str, str]  # score -> why it is not there
    settings: Mapping[str, Any]

    @property
    def is_toy(self) -> bool:
        """Tell whether the numbers are of toybox."""
        return self.evaluated == _TOYBOX

    @property
    def benchmark(self) -> str:
        """Return the benchmark in whose tables the numbers are shown."""
        return "pie-bench" if self.is_toy else self.evaluated

    @property
    def options(self) -> dict[str, Any]:
        """Return the settings of the edits, without where and by which release they were made."""
        others = ("jaxedit", "sha256 of ", "judge", "versions", "backend", "rows_per_device")
        return {name: v for name, v in self.settings.items() if not name.startswith(others)}

    def score_for(self, column: Column) -> str:
        """Return the name of our score for a column."""
        is_judged = (column.score, "") in self.means
        return column.score if is_judged or not self.is_toy else column.score.replace("gpt", "toy")

    def find(self, column: Column) -> Mean | str:
        """Return our mean for a column, or why there is none."""
        score = self.score_for(column)
        if score in self.absent:
            return f"{score} {self.absent[score]}"
        if (score, "") not in self.means:
            return f"{score} was not scored"
        mean = self.means.get((score, column.type))
        if mean is None:
            return f"no edits of the type {column.type}"
        return f"{score} is not defined for any edit" if math.isnan(mean.value) else mean


def read_folder(path: pathlib.Path) -> Folder:
    """Read the summary in a folder of results.

    Raises:
      ConfigError: there is none, or it is damaged.
      OSError: it cannot be read.
    """
    file = path / "summary.json"
    expected = "expected what python -m jaxedit.evaluate writes"
    require(file.is_file(), f"{path}: no summary.json: {expected}")
    try:
        return _folder(path, json.loads(file.read_bytes()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{file}: damaged: {expected}") from error


def _folder(path: pathlib.Path, summary: dict[str, Any]) -> Folder:
    scores = summary["scores"].items()
    there = {name: found for name, found in scores if "unavailable" not in found}
    types = {
        (name, type_): _mean(of_type)
        for name, found in there.items()
        for type_, of_type in found.get("types", {}).items()
    }
    return Folder(
        path=path,
        evaluated=str(summary["benchmark"]),
        edits=str(summary["edits"]),
        count=int(summary["samples"]) - len(list(summary["missing"])),
        means=types | {(name, ""): _mean(found) for name, found in there.items()},
        absent={name: str(found["unavailable"]) for name, found in scores if name not in there},
        settings=dict(summary["settings"]),
    )


def _mean(found: Mapping[str, Any]) -> Mean:
    """Read a mean; scores of all edits together have no finite part."""
    return Mean(float(found.get("mean_finite", found["mean"])), int(found.get("n_inf", 0)))
