"""Rows of a list that cannot be trained on: counting, logging, and refusing too many of them."""

import logging
from collections.abc import Mapping

from jaxedit.config import ConfigError

log = logging.getLogger(__name__)

MOST = 0.01  # largest share of bad rows that a run accepts
_NAMED = 20  # number of rows that an error message lists


class BadRows:
    """The bad rows of a list, each with its reason.

    Threads may share an instance: a row that two threads find is counted once.
    """

    def __init__(self, name: str, total: int) -> None:
        """Start without bad rows.

        Args:
          name: name of the list, for messages.
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
        if len(found) <= MOST * self._total:
            return
        lines = [f"{self._name}, line {line}: {reason}" for line, reason in found[:_NAMED]]
        more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
        many = f"({len(found)} of {self._total} rows are bad: expected at most {MOST:.0%})"
        raise ConfigError("\n".join([*lines, *more]) + f" {many}")
