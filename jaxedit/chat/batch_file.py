"""Files of requests and replies in OpenAI's batch format, for machines without a network."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxedit.chat.messages import content_of
from jaxedit.config import ConfigError, require


class Reply(NamedTuple):
    """A line of a file of replies."""

    custom_id: str  # of the request
    text: str | None  # None if the server gave no reply
    model: str
    where: str  # file and line, for error messages


def request_line(custom_id: str, body: Mapping[str, Any]) -> str:
    """Return the line of a request, whose body is that of /v1/chat/completions."""
    url = "/v1/chat/completions"
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}) + "\n"


def read_replies(path: pathlib.Path) -> Iterator[Reply]:
    """Yield the replies in a file, in OpenAI's batch format or with "custom_id" and "answer".

    Raises:
      ConfigError: the file does not exist or is damaged.
      OSError: the file cannot be read.
    """
    require(path.is_file(), f"{path}: expected a file of responses")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            yield _parse(line, f"{path}, line {number}")


def _parse(line: str, where: str) -> Reply:
    try:
        values = json.loads(line)
        custom_id = values["custom_id"]
        require(isinstance(custom_id, str), "custom_id is not a text")
        if isinstance(values.get("answer"), str):
            return Reply(custom_id, values["answer"], "", where)
        body = (values.get("response") or {}).get("body") or {}
        text = content_of(body) if "choices" in body else None
        return Reply(custom_id, text, str(body.get("model", "")), where)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: expected custom_id and response: {error}") from error
