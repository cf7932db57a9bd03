"""Asking a judge about edits; its raw replies are stored, and scores are read from these."""

import hashlib
import io
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxedit.chat.endpoint import Refused
from jaxedit.chat.threads import map_threads
from jaxedit.config import ConfigError, require
from jaxedit.data.json_log import JsonLog
from jaxedit.evaluate.judges.rubrics import Numbers, Question, Rubric
from jaxedit.evaluate.scores.score import Edit


class Waiting(Exception):
    """The reply is not there yet: the request was written to a file."""


class Failure(NamedTuple):
    """Why an edit has no scores; it is left out of the means and counted."""

    reason: str
    is_waiting: bool = False  # for a reply that may come later


@runtime_checkable
class Judge(Protocol):
    """Something that replies to a prompt about pictures."""

    settings: Mapping[str, Any]  # "model", and all else on which its replies depend
    threads: int  # requests at a time

    def ask(self, prompt: str, images: Sequence[bytes], attempt: int = 0) -> str:
        """Return the raw reply to a prompt about PNG pictures.

        Args:
          attempt: another number asks the same again, with another seed.

        Raises:
          Refused: there will be no reply to this request.
          Waiting: there is no reply yet.
          OSError: there will be no reply to any request.
        """
        ...


def request_key(judge: Judge, prompt: str, images: Sequence[bytes], attempt: int) -> str:
    """Return a hash of everything on which a reply depends."""
    hashes = [hashlib.sha256(image).hexdigest() for image in images]
    parts = [dict(judge.settings), prompt, hashes, attempt]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """Raw replies by the key of their request, in a file of JSON lines."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read the replies of earlier runs.

        Raises:
          ConfigError: a line is damaged.
          OSError: the file cannot be read.
        """
        self._log = JsonLog(path)
        self._replies: dict[str, str] = {}
        for number, line in enumerate(self._log.lines(), 1):
            try:
                values = json.loads(line)
                self._replies[values["key"]] = str(values["reply"])
            except (ValueError, KeyError, TypeError) as error:
                where = f"{path}, line {number}"
                raise ConfigError(f"{where}: expected key and reply; remove the line") from error

    def get(self, key: str) -> str | None:
        """Return the reply to a request, or None."""
        return self._replies.get(key)

    def add(self, key: str, reply: str, **about: Any) -> None:
        """Store a reply, and what people may want to know about it.

        Raises:
          OSError: the file cannot be written.
        """
        self._log.append({"key": key, **about, "reply": reply})
        self._replies[key] = reply


def judge_edits(
    rubric: Rubric,
    edits: Iterable[Edit],
    judge: Judge,
    cache: ReplyCache | None = None,
    *,
    attempts: int = 3,
) -> Iterator[tuple[str, dict[str, float] | Failure]]:
    """Yield the key of each edit's sample and its scores, in order, as replies come in.

    What the cache holds is not asked again, so a stopped run continues.

    Args:
      edits: read as needed.
      attempts: times that a question is asked in all if its replies cannot be read.

    Raises:
      ConfigError: a prompt or a picture that the rubric needs is missing.
      OSError: the judge cannot be used any more, or the cache cannot be written.
    """

    def scores_of(edit: Edit) -> tuple[str, dict[str, float] | Failure]:
        # All questions are asked even if one fails: a file of requests must be complete.
        found = [_answer(rubric, question, edit, judge, cache, attempts) for question in questions]
        failures = [each for each in found if isinstance(each, Failure)]
        return edit.sample.key, failures[0] if failures else rubric.score(*found)

    questions = rubric.questions
    return map_threads(scores_of, edits, judge.threads)


def _answer(
    rubric: Rubric,
    question: Question,
    edit: Edit,
    judge: Judge,
    cache: ReplyCache | None,
    attempts: int,
) -> Numbers | Failure:
    """Return the numbers in the first reply that can be read."""
    prompt = rubric.prompt(question, edit.sample)
    images = [_png(getattr(edit, name), name, edit) for name in question.pictures]
    reply = ""
    for attempt in range(attempts):
        key = request_key(judge, prompt, images, attempt)
        known = cache.get(key) if cache else None
        try:
            reply = judge.ask(prompt, images, attempt) if known is None else known
        except Waiting as error:
            return Failure(str(error), is_waiting=True)
        except Refused as error:
            return Failure(str(error))
        if cache and known is None:
            about = {"sample": edit.sample.key, "question": question.prompt, "attempt": attempt}
            cache.add(key, reply, **about, model=judge.settings["model"])
        if (numbers := rubric.read(reply)) is not None:
            return numbers
    last = " ".join(reply.split())[:80]
    return Failure(f"{question.prompt}: no scores in {attempts} replies, the last: {last!r}")


def _png(picture: UInt8[np.ndarray, "H W 3"] | None, name: str, edit: Edit) -> bytes:
    require(picture is not None, f"sample {edit.sample.key}: the judge needs its {name} picture")
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
