"""Judging the rows of a store: by a server, or through two files in OpenAI's batch format."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.atomic_write import atomic_write
from jaxedit.chat.batch_file import Reply, read_replies, request_line
from jaxedit.chat.endpoint import Endpoint, Refused
from jaxedit.chat.threads import map_threads
from jaxedit.config import require
from jaxedit.data.store import Store
from jaxedit.datasets.vlm_filter.answers import UNCLEAR, Answers, body_of, read_answer
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

    def ask(row: int) -> None:
        if (record := store[row]).task != "edit":
            return
        try:
            answer = read_answer(endpoint.ask(body_of(record, *model)))
        except Refused:
            if not answers.by_row:
                raise
            answer = UNCLEAR
        answers.add(row, record.id, answer, model.name)

    with progress_bar(store.name, len(rows)) as bar:
        for _ in map_threads(ask, rows, threads):
            bar.update()


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
                file.write(request_line(f"{row}:{record.id}", body_of(record, *model)))
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
    replies = [(*_row_of(store, reply), reply) for reply in read_replies(path)]
    answered = [(row, key, reply) for row, key, reply in replies if reply.text is not None]
    for row, key, reply in answered:
        answers.add(row, key, read_answer(reply.text), reply.model)
    return len(replies) - len(answered)


def _row_of(store: Store, reply: Reply) -> tuple[int, str]:
    """Return the row of a reply and its id."""
    number, _, key = reply.custom_id.partition(":")
    row = int(number) if number.isdecimal() else len(store)
    fits = row < len(store) and store[row].id == key
    require(fits, f"{reply.where}: {key!r} is not row {number} of {store.directory}")
    return row, key
