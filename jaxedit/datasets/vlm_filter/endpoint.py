"""An OpenAI-compatible server of a vision-language model, accessed by the standard library."""

import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from jaxedit.config import require

_PATH = "/chat/completions"
_REFUSALS = (400, 413, 422)  # the server refuses this request, but may accept others
_BUSY = (408, 409, 425, 429)  # the same request may work later, as with all codes from 500 on
_LONGEST = 60.0  # most seconds between attempts
_TIMEOUT = 600.0  # seconds for an answer


class Refused(OSError):
    """The server refuses this request, but may answer others."""


class Endpoint:
    """A client of the server; safe to share between threads."""

    def __init__(self, url: str, *, key: str = "", retries: int = 6, delay: float = 1.0) -> None:
        """Check the address.

        Args:
          retries: attempts after the first, while the server is busy or cannot be reached.
          delay: seconds before the first retry; doubled each time.

        Raises:
          ConfigError: the address is not an http(s) URL.
        """
        parts = urllib.parse.urlsplit(url)
        require(
            parts.scheme in ("http", "https") and bool(parts.netloc),
            f"--endpoint={url}: expected http(s)://HOST/v1",
        )
        path = parts.path.rstrip("/") or "/v1"
        path = path if path.endswith(_PATH) else path + _PATH
        self.url = urllib.parse.urlunsplit(parts._replace(path=path))
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._retries, self._delay = retries, delay

    def ask(self, body: Mapping[str, Any]) -> str:
        """Send a request, and return the text of the model's answer.

        Raises:
          Refused: the server rejects this request.
          OSError: the server rejects all requests, or cannot be reached; one line.
        """
        data = json.dumps(body).encode()
        for attempt in range(self._retries + 1):
            try:
                return content_of(self._post(data))
            except urllib.error.HTTPError as error:
                failure, wait = self._explain(error), error.headers.get("Retry-After", "")
                if error.code in _REFUSALS:
                    raise Refused(failure) from error
                if error.code not in _BUSY and error.code < 500:
                    raise OSError(failure) from error
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure, wait = f"{self.url}: {getattr(error, 'reason', error)}", ""
            if attempt < self._retries:
                seconds = self._delay * 2**attempt * random.uniform(1, 1.5)
                time.sleep(min(_LONGEST, float(wait) if wait.isdigit() else seconds))
        raise OSError(f"{failure} (after {self._retries + 1} attempts)")

    def _post(self, data: bytes) -> Any:
        request = urllib.request.Request(self.url, data, self._headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            return json.load(response)

    def _explain(self, error: urllib.error.HTTPError) -> str:
        with error:
            text = " ".join(error.read(300).decode("utf-8", "replace").split())
        return f"{self.url}: HTTP {error.code}: {text or error.reason}"


def content_of(response: Any) -> str:
    """Return the text in a response.

    Raises:
      ValueError: the response has no text.
    """
    try:
        content = response["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("expected choices[0].message.content in the response") from error
    if not isinstance(content, str):
        raise ValueError("expected a text in choices[0].message.content")
    return content
