"""The guards before the routes: API keys, a rate for each key, and the size of a request."""

import base64
import binascii
import hashlib
import hmac
import math
import pathlib
import re
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxedit.config import require
from jaxedit.serve.errors import APIError

_LEAST = 16  # letters of a key
_FORGET = 10_000  # clients whose rate is remembered
_OPEN = re.compile(r"/(health|ready|metrics|openapi\.json|docs)")  # asks for no key
_COUNTED = ("/v1/", "/gradio_api/upload")  # the page counts its edits
CLIENT = "jaxedit.client"  # in an ASGI scope: what tells clients apart


def read_keys(path: str) -> list[str]:
    """Read a file of API keys, one a line; empty lines and lines with # are left out.

    Raises:
      ConfigError: there is no key, or one is too short or has other signs than ASCII.
      OSError: the file cannot be read.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise OSError(f"--api_key_file={path}: {error.strerror}") from error
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    require(bool(keys), f"--api_key_file={path}: expected at least one key, one a line")
    for number, key in enumerate(keys, 1):
        is_key = len(key) >= _LEAST and key.isascii() and key.isprintable() and " " not in key
        require(
            is_key,
            f"--api_key_file={path}: key {number}: expected {_LEAST} or more letters, digits and "
            "signs of ASCII",
        )
    return keys


class Guard:
    """An ASGI application behind the guards: the API and the page ask for keys and have a rate."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Sequence[str] = (),
        rate: "RateLimit | None" = None,
        max_bytes: float = math.inf,
    ) -> None:
        """Wrap an application.

        Args:
          keys: accepted API keys; none: everybody is served.
          rate: of each key or, without keys, of each address; None: no limit.
          max_bytes: of a request's body.
        """
        self._app, self._max_bytes = app, max_bytes
        self._digests = [_digest(key) for key in keys]
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            if not _OPEN.fullmatch(scope["path"]):
                scope[CLIENT] = self._client_of(headers, scope)
                if self._rate and scope["path"].startswith(_COUNTED):
                    self._rate.count(scope[CLIENT])
            self._require_length(headers)
        except APIError as error:
            scope["app"].state.service.metrics.count_error(error.code)
            await error.response()(scope, receive, send)
            return
        await self._app(scope, self._limited(receive), send)

    def _client_of(self, headers: Headers, scope: Scope) -> bytes:
        """Return what tells clients apart; raise APIError without an accepted key."""
        if not self._digests:
            return (scope.get("client") or ("",))[0].encode()
        given = _digest(_key_in(headers.get("authorization", "")))
        # All keys are compared, each in constant time: the time tells nothing about them.
        if not sum([hmac.compare_digest(given, known) for known in self._digests]):
            is_api = scope["path"].startswith("/v1/")
            raise APIError(
                401,
                "expected an API key of this server: "
                + ("Authorization: Bearer KEY" if is_api else "as the password, with any name"),
                code="invalid_api_key",
                # browsers ask for a name and a password
                headers={"WWW-Authenticate": "Bearer" if is_api else 'Basic realm="jaxedit"'},
            )
        return given

    def _require_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive`, which raises APIError once a body is too large."""
        count = 0

        async def receive_limited() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > self._max_bytes:
                raise self._too_large()
            return message

        return receive_limited

    def _too_large(self) -> APIError:
        most = self._max_bytes / 1e6
        return APIError(413, f"the request: expected at most {most:g} MB", code="too_large")


class RateLimit:
    """A bucket of requests for each client, which fills up evenly within a minute."""

    def __init__(self, rate: float) -> None:
        """Fill all buckets; `rate`: requests a minute."""
        self._rate = rate
        self._clients: dict[bytes, tuple[float, float]] = {}  # requests left, and when

    def count(self, client: bytes) -> None:
        """Count a request; raise APIError if a client's bucket is empty."""
        now, most = time.monotonic(), max(1.0, self._rate)
        left, since = self._clients.pop(client, (most, now))
        left = min(most, left + (now - since) * self._rate / 60)
        if len(self._clients) >= _FORGET:
            del self._clients[next(iter(self._clients))]  # who asked longest ago
        self._clients[client] = (left - (left >= 1), now)
        if left < 1:
            seconds = math.ceil((1 - left) * 60 / self._rate)
            raise APIError(
                429,
                f"more than {self._rate:g} requests a minute: ask again in {seconds} s",
                code="rate_limit_exceeded",
                type="rate_limit_error",
                headers={"Retry-After": str(seconds)},
            )


def _key_in(authorization: str) -> str:
    """Return the key in a header: `Bearer KEY`, or `Basic` with the key as the password."""
    kind, _, text = authorization.partition(" ")
    if kind.lower() != "basic":
        return text.strip() if kind.lower() == "bearer" else ""
    try:
        return base64.b64decode(text).decode().partition(":")[2]
    except (binascii.Error, UnicodeError):
        return ""


def _digest(key: str) -> bytes:
    """Return a key's SHA-256, of equal length for every key."""
    return hashlib.sha256(key.encode()).digest()
