"""The question to a vision-language model about a pair, and the file that stores the answers."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jaxedit.chat.messages import request_body, without_reasoning
from jaxedit.config import ConfigError, require
from jaxedit.data.drop_list import Dropped
from jaxedit.data.json_log import JsonLog
from jaxedit.data.record import Record
from jaxedit.data.store import Store

YES, NO, UNCLEAR = "yes", "no", "unclear"
_NAMES = ("row", "id", "answer", "model")
_QUESTION = """\
The first picture was edited into the second one by this instruction: {instruction}

Answer yes if both of these hold, else no:
1. The difference between the pictures is what the instruction asks for, and nothing else changed.
2. Both pictures are clear and undistorted.

Answer with one word, yes or no."""


def body_of(record: Record, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request to /v1/chat/completions.

    Args:
      options: further fields, for example temperature.

    Source: the filter of VAREdit's training data, whose exact words are not published.
    """
    prompt = _QUESTION.replace("{instruction}", record.instruction)
    return request_body(model, prompt, (record.source, record.target), options)


def read_answer(text: str) -> str:
    """Return yes, no or unclear.

    The answer counts if it begins with yes or no, or contains only one of the two words.
    """
    words = re.findall(r"[a-z]+", without_reasoning(text).lower())
    found = {word for word in words if word in (YES, NO)}
    if words[:1] and words[0] in found:
        return words[0]
    return found.pop() if len(found) == 1 else UNCLEAR


class Answers:
    """Yes, no or unclear by row, stored in `vlm_filter.jsonl`; safe to share between threads.

    Attributes:
      path: path of the file.
      by_row: row number -> (id, answer).
    """

    def __init__(self, store: Store) -> None:
        """Read the answers of earlier runs.

        Raises:
          ConfigError: the file is damaged, or of another conversion.
        """
        self.path = store.directory / "vlm_filter.jsonl"
        self._log = JsonLog(self.path)
        self.by_row = {row: (key, answer) for row, key, answer in self._read(store)}

    def add(self, row: int, key: str, answer: str, model: str) -> None:
        """Append an answer to the file.

        Raises:
          OSError: the file cannot be written.
        """
        self._log.append(dict(zip(_NAMES, (row, key, answer, model), strict=True)))
        self.by_row[row] = key, answer

    def dropped(self) -> list[Dropped]:
        """Return the rows with the answer no, in order."""
        rows = sorted((row, key) for row, (key, answer) in self.by_row.items() if answer == NO)
        return [Dropped(row, key, "the model says no") for row, key in rows]

    def _read(self, store: Store) -> Iterator[tuple[int, str, str]]:
        last = None
        for number, line in enumerate(self._log.lines(), 1):
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
