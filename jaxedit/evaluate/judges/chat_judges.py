"""Chat models as judges: on an OpenAI-compatible server, or through two files."""

import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from jaxedit.chat.batch_file import read_replies, request_line
from jaxedit.chat.endpoint import Endpoint
from jaxedit.chat.messages import request_body
from jaxedit.evaluate.judges.judge import Waiting, request_key

OPTIONS: Mapping[str, Any] = {"temperature": 0, "seed": 0, "max_tokens": 1400}


def _body(
    settings: Mapping[str, Any], prompt: str, images: Sequence[bytes], attempt: int
) -> dict[str, Any]:
    model, options = settings["model"], {k: v for k, v in settings.items() if k != "model"}
    if "seed" in options:  # some servers know no seed
        options["seed"] += attempt
    return request_body(model, prompt, images, options)


class OpenAIChatJudge:
    """A model on a server; safe to share between threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        options: Mapping[str, Any] = OPTIONS,
        *,
        threads: int = 16,
    ) -> None:
        """Set the model and further fields of each request, such as the temperature."""
        self.settings = {"model": model, **options}
        self.threads = threads
        self._endpoint = endpoint

    def ask(self, prompt: str, images: Sequence[bytes], attempt: int = 0) -> str:
        """Return the reply of the server; see `Judge.ask`."""
        return self._endpoint.ask(_body(self.settings, prompt, images, attempt))


class FileJudge:
    """A model that somebody else asks: writes requests, and reads replies in a later run.

    Replies that cannot be read are asked for again by the requests of the next run. A service may
    limit the size of a file; `split` cuts it between lines, and replies can be concatenated.
    """

    threads = 1

    def __init__(
        self,
        requests: pathlib.Path,
        replies: pathlib.Path | None,
        model: str,
        options: Mapping[str, Any] = OPTIONS,
    ) -> None:
        """Read the replies; the file of requests is written anew from the first question on.

        Raises:
          ConfigError: the file of replies is damaged or does not exist.
          OSError: the file of replies cannot be read.
        """
        self.settings = {"model": model, **options}
        found = read_replies(replies) if replies else ()
        self._replies = {reply.custom_id: reply.text for reply in found if reply.text is not None}
        self._requests = requests
        self._written: set[str] | None = None  # before the first question
        self._lock = threading.Lock()

    def ask(self, prompt: str, images: Sequence[bytes], attempt: int = 0) -> str:
        """Return the reply that was read, or write the request; see `Judge.ask`."""
        key = request_key(self, prompt, images, attempt)
        try:
            with self._lock:
                if self._written is None:
                    self._requests.write_text("", "utf-8")
                    self._written = set()
                if key in self._replies:
                    return self._replies[key]
                if key not in self._written:  # a batch may not hold an id twice
                    line = request_line(key, _body(self.settings, prompt, images, attempt))
                    with self._requests.open("a", encoding="utf-8") as file:
                        file.write(line)
                    self._written.add(key)
        except OSError as error:
            raise OSError(f"{self._requests}: not written: {error.strerror}") from error
        raise Waiting(f"{self._requests}: waits for a reply")
