"""Judging the rows of a store: by a server, or through two files in OpenAI's batch format."""

import concurrent.futures
import json
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.atomic_write import atomic_write
from jaxedit.config import ConfigError, require
from jaxedit.data.store import Store
from jaxedit.datasets.vlm_filter.answers import UNCLEAR, Answers, body_of, read_answer
from jaxedit.datasets.vlm_filter.endpoint import Endpoint, Refused, content_of
from jaxedit.progress import progress_bar


class Model(NamedTuple):
    """The name of a model, and further fields of each request."""

    name: str
    options: Mapping[str, Any]


def ask_all(
    store: Store,
    rows: Sequence[int],
    answers: Answers,
    endpoint: Endpoint,
    *,
    model: Model,
    threads: int,
) -> None:
    """Ask about the edits among these rows, and store each answer at once.

    If the server refuses a request after it has answered others, the row's answer is unclear.

    Raises:
      OSError: the server cannot be used any more, a row is damaged, or an answer cannot be written.
    """
    stop = threading.Event()

    def ask(row: int) -> None:
        if stop.is_set() or (record := store[row]).task != "edit":
            return
        try:
            answer = read_answer(endpoint.ask(body_of(record, *model)))
        except OSError as error:
            if not isinstance(error, Refused) or not answers.by_row:
                stop.set()  # before this thread takes another row
                raise
            answer = UNCLEAR
        answers.add(row, record.id, answer, model.name)

    with (
        progress_bar(store.name, len(rows)) as bar,
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
    ):
        try:
            # In blocks, because `map` makes a task of every row at once.
            for start in range(0, len(rows), 64 * threads):
                for _ in pool.map(ask, rows[start : start + 64 * threads]):
                    bar.update()
        finally:
            stop.set()


def export(store: Store, rows: Sequence[int], path: pathlib.Path, model: Model) -> int:
    """Write the requests about the edits among these rows, in OpenAI's batch format.

    Returns:
      The number of requests.

    Raises:
      OSError: a row is damaged, or the file cannot be written.
    """
    count = 0
    with (
        atomic_write(path) as part,
        part.open("w", encoding="utf-8") as file,
        progress_bar(store.name, len(rows)) as bar,
    ):
        for row in rows:
            record = store[row]
            if record.task == "edit":
                request = {
                    "custom_id": f"{row}:{record.id}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": body_of(record, *model),
                }
                file.write(json.dumps(request) + "\n")
                count += 1
            bar.update()
    return count


def import_(store: Store, path: pathlib.Path, answers: Answers) -> int:
    """Read a file of responses, in OpenAI's batch format or with "custom_id" and "answer".

    Returns:
      The number of lines without a response, whose rows remain unanswered.

    Raises:
      ConfigError: the file does not exist, is damaged or of another store. None of its answers is
        stored then.
      OSError: the file cannot be read.
    """
    require(path.is_file(), f"--import={path}: expected a file of responses")
    found, failed = [], 0
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            row, key, text, model = _parse(line, f"{path}, line {number}")
            fits = 0 <= row < len(store) and store[row].id == key
            require(fits, f"{path}, line {number}: {key!r} is not row {row} of {store.directory}")
            if text is None:
                failed += 1
            else:
                found.append((row, key, read_answer(text), model))
    for each in found:
        answers.add(*each)
    return failed


def _parse(line: str, where: str) -> tuple[int, str, str | None, str]:
    """Return (row, id, text of the answer or None, name of the model) of a line of responses."""
    try:
        values = json.loads(line)
        row, _, key = values["custom_id"].partition(":")
        if isinstance(values.get("answer"), str):
            return int(row), key, values["answer"], ""
        body = (values.get("response") or {}).get("body") or {}
        text = content_of(body) if "choices" in body else None
        return int(row), key, text, str(body.get("model", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: expected custom_id and response: {error}") from error
