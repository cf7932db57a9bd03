"""The usable lines of a list of pairs, checked before the first training step."""

import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxedit.atomic_write import atomic_write
from jaxedit.config import ConfigError, require
from jaxedit.data import json_lines, prompts

log = logging.getLogger(__name__)

_REQUIRED = ("source", "target", "instruction")
_OPTIONAL = ("mask", "task")
_MOST_BAD = 0.01  # largest share of bad rows that a run accepts
_NAMED = 20  # number of rows that an error message lists
_LABELS = ("edit", "add_remove", "other", *prompts.TASKS)  # of a line


class PairList:
    """Good lines of a .jsonl file of pairs; a few bad lines are dropped.

    Whether all pictures exist is checked once: the file `.NAME.checked` beside the list stores the
    result until the list changes. Later runs only check the rows that were bad.

    Attributes:
      path: path of the file; pictures are looked up in its directory.
      rows: (line number, texts) of each good row.
      bad: the bad rows, with their reasons.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Read and check all lines.

        Raises:
          ConfigError: the file cannot be read, or more than 1 % of its rows are bad.
        """
        path = pathlib.Path(path)
        try:
            lines = json_lines.read(path)
        except OSError as error:
            raise ConfigError(f"{path}: expected a readable text file of pairs: {error}") from error
        self.path = path
        self.bad = BadRows(str(path), len(lines))
        self.rows: list[tuple[int, dict[str, str]]] = []
        checked = _Checked(path)
        reasons: dict[int, str] = {}
        for line in lines:
            is_known = checked.bad is not None and str(line.number) not in checked.bad
            try:
                is_json = line.error in ("", json_lines.NO_OBJECT)
                require(is_json, f"expected a JSON object: {line.error}")
                texts = _texts(line.values)
                if not is_known:
                    _require_files(texts, path)
                self.rows.append((line.number, texts))
            except ConfigError as error:
                reasons[line.number] = str(error)
        self.bad.drop(reasons)
        checked.write(reasons)


class _Checked:
    """The result of an earlier check of a list, stored beside it.

    Attributes:
      bad: number of each bad line -> its reason; None if the list has changed since, or was never
        checked.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path.with_name(f".{path.name}.checked")
        self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.bad: dict[str, str] | None = None
        try:
            found = json.loads(self._path.read_text("utf-8"))
            if found["sha256"] == self._sha256:
                self.bad = dict(found["bad"])
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged
            pass

    def write(self, bad: dict[int, str]) -> None:
        """Store the bad lines if the directory is writable."""
        now = {str(number): reason for number, reason in bad.items()}
        if now == self.bad:
            return
        try:
            with atomic_write(self._path) as part:
                text = json.dumps({"sha256": self._sha256, "bad": now})
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            log.info("the check of the list is not remembered: %s", error)


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Return the texts of a line.

    Raises:
      ConfigError: a text is missing, or the line has other fields.
    """
    is_text = bool(values) and all(isinstance(v, str) and v for v in values.values())
    is_canny = is_text and values.get("task") == "canny"
    needed = set(_REQUIRED) - ({"source"} if is_canny else set())
    require(
        is_text and needed <= set(values) <= {*_REQUIRED, *_OPTIONAL},
        f"expected texts for {', '.join(_REQUIRED)} and perhaps mask and task, "
        f"found {sorted(values)}",
    )
    task = values.get("task", "edit")
    require(task in _LABELS, f"task {task!r}: expected one of {', '.join(_LABELS)}")
    return values


def _require_files(texts: dict[str, str], path: pathlib.Path) -> None:
    for name in sorted(set(texts) - {"instruction", "task"}):
        is_there = (path.parent / texts[name]).is_file()
        require(is_there, f"{name} {texts[name]!r} is not a file beside {path.name}")


class BadRows:
    """The rows of a list that cannot be trained on, each with its reason.

    Threads may share an instance: a row that two threads find is counted once.
    """

    def __init__(self, name: str, total: int) -> None:
        """Start without bad rows.

        Args:
          total: number of rows, including bad rows.
        """
        self._name, self._total = name, total
        self._reasons: dict[int, str] = {}

    def drop(self, reasons: Mapping[int, str]) -> None:
        """Count and log rows that are left out.

        Args:
          reasons: line number of a row -> what is wrong with the row.

        Raises:
          ConfigError: more than 1 % of the rows are bad; the message lists them.
        """
        self._reasons |= reasons
        self._require_few()
        for line, reason in sorted(reasons.items())[:_NAMED]:
            log.warning("%s, line %d: %s: dropped", self._name, line, reason)
        if reasons:
            log.warning("%s: %d of %d rows dropped", self._name, len(reasons), self._total)

    def replace(self, line: int, reason: str) -> None:
        """Count a row that another row replaces, and log it once.

        Raises:
          ConfigError: more than 1 % of the rows are bad; the message lists them.
        """
        if line in self._reasons:
            return
        self._reasons[line] = reason
        self._require_few()
        count = f"{len(self._reasons)} of {self._total} rows are bad so far"
        log.warning(
            "%s, line %d: %s: the next row takes its place (%s)", self._name, line, reason, count
        )

    def _require_few(self) -> None:
        found = sorted(self._reasons.items())
        if len(found) <= _MOST_BAD * self._total:
            return
        lines = [f"{self._name}, line {line}: {reason}" for line, reason in found[:_NAMED]]
        more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
        many = f"({len(found)} of {self._total} rows are bad: expected at most {_MOST_BAD:.0%})"
        raise ConfigError("\n".join([*lines, *more]) + f" {many}")
