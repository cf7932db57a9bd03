"""An OpenAI-compatible server, accessed by the standard library."""

import contextlib
import email.utils
import http.client
import json
import logging
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from jaxedit.chat.messages import content_of
from jaxedit.config import require

log = logging.getLogger(__name__)

_PATH = "/chat/completions"
_REFUSALS = (400, 413, 422)  # the server refuses this request, but may accept others
_BUSY = (408, 409, 425, 429)  # the same request may work later, as with all codes from 500 on
_SECRET = 8  # letters; a shorter key, such as "EMPTY" for a local server, is no secret
_LONGEST = 60.0  # most seconds between attempts


class Refused(OSError):
    """The server refuses this request, but may answer others."""


class Endpoint:
    """A client of the server; safe to share between threads."""

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        retries: int = 6,
        delay: float = 1.0,
        timeout: float = 600.0,
    ) -> None:
        """Check the address.

        Args:
          key: sent to the server, and nowhere else; error messages do not contain it.
          retries: attempts after the first, while the server is busy or cannot be reached.
          delay: seconds before the first retry; doubled each time.
          timeout: seconds to wait for the server before a retry.

        Raises:
          ConfigError: the address is not an http(s) URL, or the key cannot be sent.
        """
        parts = urllib.parse.urlsplit(url)
        require(
            parts.scheme in ("http", "https") and bool(parts.netloc),
            f"{url}: expected the address of a server, http(s)://HOST/v1",
        )
        is_sendable = key.isascii() and key.isprintable() and " " not in key
        require(is_sendable, f"key of {url}: expected letters, digits and signs in a single line")
        path = parts.path.rstrip("/") or "/v1"
        path = path if path.endswith(_PATH) else path + _PATH
        self.url = urllib.parse.urlunsplit(parts._replace(path=path))
        self._key, self._retries, self._delay, self._timeout = key, retries, delay, timeout
        self._has_warned = False  # of a failure; others are likely to be of its kind

    def ask(self, body: Mapping[str, Any]) -> str:
        """Send a request, and return the text of the model's answer.

        Raises:
          Refused: the server rejects this request.
          OSError: the server rejects all requests, or cannot be reached; one line.
        """
        data = json.dumps(body).encode()
        for attempt in range(self._retries + 1):
            try:
                reply = content_of(self._post(data))
                return self._without_key(reply) if len(self._key) >= _SECRET else reply
            except urllib.error.HTTPError as error:
                failure, wait = self._explain(error), _seconds(error.headers.get("Retry-After", ""))
                if error.code in _REFUSALS:
                    raise Refused(failure) from error
                if error.code not in _BUSY and error.code < 500:
                    raise OSError(failure) from error
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure, wait = f"{self.url}: {getattr(error, 'reason', error)}", None
            if attempt < self._retries:
                seconds = self._delay * 2**attempt * random.uniform(1, 1.5)
                if not self._has_warned:
                    self._has_warned = True
                    log.warning("%s; asking again, up to %d times", failure, self._retries)
                time.sleep(min(_LONGEST, seconds if wait is None else wait))
        raise OSError(f"{failure} (after {self._retries + 1} attempts)")

    def _post(self, data: bytes) -> Any:
        request = urllib.request.Request(self.url, data, {"Content-Type": "application/json"})
        if self._key:  # not for a server to which this server redirects
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        with urllib.request.urlopen(request, timeout=self._timeout) as response:
            return json.load(response)

    def _explain(self, error: urllib.error.HTTPError) -> str:
        with error:
            text = " ".join(error.read(5000).decode("utf-8", "replace").split())
        text = self._without_key(text)[:300]
        return f"{self.url}: HTTP {error.code}: {text or error.reason}"

    def _without_key(self, text: str) -> str:
        """Return a text of the server without the key, which the server may repeat."""
        return text.replace(self._key, "***") if self._key else text


def _seconds(retry_after: str) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; None if it is neither."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return None
