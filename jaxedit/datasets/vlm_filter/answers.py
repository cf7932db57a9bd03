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
from jaxedit.engines.options import Shard

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

    A shard stores its answers in a file of its own, `vlm_filter.0-of-8.jsonl`; runs without a shard
    read these files, too.

    Attributes:
      path: path of the file.
      by_row: row number -> (id, answer).
    """

    def __init__(self, store: Store, shard: Shard | None = None) -> None:
        """Read the answers of earlier runs; a shard skips the files of other shards.

        Raises:
          ConfigError: a file is damaged, or of another conversion.
        """
        whole = store.directory / "vlm_filter.jsonl"
        if shard:
            self.path = whole.with_name(f"vlm_filter.{shard.index}-of-{shard.count}.jsonl")
            others = [whole]
        else:
            self.path, others = whole, sorted(whole.parent.glob("vlm_filter.*-of-*.jsonl"))
        self._log = JsonLog(self.path)
        logs = [JsonLog(path) for path in others] + [self._log]
        self.by_row = {row: (key, answer) for log in logs for row, key, answer in _read(log, store)}

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


def _read(log: JsonLog, store: Store) -> Iterator[tuple[int, str, str]]:
    last = None
    for number, line in enumerate(log.lines(), 1):
        last = _parse(line, f"{log.path}, line {number}")
        yield last
    if last is not None:
        row, key, _ = last
        fits = 0 <= row < len(store) and store[row].id == key
        require(fits, f"{log.path}: not of the rows of this store: remove it")


def _parse(line: str, place: str) -> tuple[int, str, str]:
    try:
        values = json.loads(line)
        row, key, answer, _ = (values[name] for name in _NAMES)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place}: expected {_NAMES}") from error
    known = isinstance(row, int) and isinstance(key, str) and answer in (YES, NO, UNCLEAR)
    require(known, f"{place}: expected yes, no or unclear for a row")
    return row, key, answer
