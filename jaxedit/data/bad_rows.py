"""Rows of a list that cannot be trained on: counted, said, and too many of them refused."""

import logging
from collections.abc import Mapping

from jaxedit.config import ConfigError

log = logging.getLogger(__name__)

MOST = 0.01  # share of bad rows that a run goes on with
_NAMED = 20  # rows that an error lists


class BadRows:
    """The bad rows of a list, each with its reason.

    Threads may share one: a row that two of them find is counted once.
    """

    def __init__(self, name: str, total: int) -> None:
        """Begin with none.

        Args:
          name: of the list, for messages.
          total: its rows, the bad ones too.
        """
        self._name, self._total = name, total
        self._reasons: dict[int, str] = {}

    def drop(self, reasons: Mapping[int, str]) -> None:
        """Count rows that are left out, and say which.

        Args:
          reasons: number of a row's line -> what is wrong with it.

        Raises:
          ConfigError: more than 1 % of the rows are bad; lists them.
        """
        self._reasons |= reasons
        self._require_few()
        for line, reason in sorted(reasons.items())[:_NAMED]:
            log.warning("%s, line %d: %s: dropped", self._name, line, reason)
        if reasons:
            log.warning("%s: %d of %d rows dropped", self._name, len(reasons), self._total)

    def replace(self, line: int, reason: str) -> None:
        """Count a row in whose place another one is read, and say so once.

        Raises:
          ConfigError: more than 1 % of the rows are bad; lists them.
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
        if len(found) <= MOST * self._total:
            return
        lines = [f"{self._name}, line {line}: {reason}" for line, reason in found[:_NAMED]]
        more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
        many = f"({len(found)} of {self._total} rows are bad: expected at most {MOST:.0%})"
        raise ConfigError("\n".join([*lines, *more]) + f" {many}")
