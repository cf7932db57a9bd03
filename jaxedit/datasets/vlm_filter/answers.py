"""The answers so far, stored in a file of the store that survives an interruption."""

import json
import threading
from collections.abc import Iterator

from jaxedit.config import ConfigError, require
from jaxedit.data.drop_list import Dropped
from jaxedit.data.store import Store
from jaxedit.datasets.vlm_filter.question import NO, UNCLEAR, YES

_NAMES = ("row", "id", "answer", "model")


class Answers:
    """Yes, no or unclear by row, stored in `vlm_filter.jsonl`; safe to share between threads."""

    def __init__(self, store: Store) -> None:
        """Read the answers of earlier runs.

        Raises:
          ConfigError: the file is damaged, or of another conversion.
        """
        self.path = store.directory / "vlm_filter.jsonl"
        self._lock = threading.Lock()
        self._by_row: dict[int, tuple[str, str]] = {}  # id, answer
        for row, key, answer in self._read(store):
            self._by_row[row] = key, answer

    def __len__(self) -> int:
        """Return the number of rows with an answer."""
        return len(self._by_row)

    def __contains__(self, row: int) -> bool:
        """Tell whether a row has an answer."""
        return row in self._by_row

    def count(self, answer: str) -> int:
        """Return the number of rows with this answer."""
        return sum(found == answer for _, found in self._by_row.values())

    def add(self, row: int, key: str, answer: str, model: str) -> None:
        """Append an answer to the file.

        Raises:
          OSError: the file cannot be written.
        """
        line = json.dumps(dict(zip(_NAMES, (row, key, answer, model), strict=True)))
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            self._by_row[row] = key, answer

    def dropped(self) -> list[Dropped]:
        """Return the rows with the answer no, in order."""
        rows = sorted((row, key) for row, (key, answer) in self._by_row.items() if answer == NO)
        return [Dropped(row, key, "the model says no") for row, key in rows]

    def _read(self, store: Store) -> Iterator[tuple[int, str, str]]:
        if not self.path.exists():
            return
        text = self.path.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the process was killed while writing a line
            self.path.write_text(whole, "utf-8")
        last = None
        for number, line in enumerate(whole.splitlines(), 1):
            last = self._parse(line, number)
            yield last
        if last is not None:
            row, key, _ = last
            fits = 0 <= row < len(store) and store[row].id == key
            require(fits, f"{self.path}: not of the rows of this store: remove it")

    def _parse(self, line: str, number: int) -> tuple[int, str, str]:
        try:
            values = json.loads(line)
            row, key, answer, _ = (values[name] for name in _NAMES)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path}, line {number}: expected {_NAMES}") from error
        known = isinstance(row, int) and isinstance(key, str) and answer in (YES, NO, UNCLEAR)
        require(known, f"{self.path}, line {number}: expected yes, no or unclear for a row")
        return row, key, answer
