"""The routes of the page: few of Gradio's, and no request that names a file or an address."""

import json
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxedit.serve.errors import APIError, invalid

UPLOAD = "/gradio_api/upload"  # a file of the client; counted as a request
_EVENTS = "/gradio_api/queue/join"
# What the page needs. Gradio's other routes fetch addresses, run functions, or keep files.
_ROUTES = {
    "GET": r"/(config|theme\.css|favicon\.ico|manifest\.json|(assets|static)/[\w./-]+)?"
    r"|/gradio_api/(queue/data|upload_progress|startup-events|heartbeat/\w+|app_id|theme\.css)"
    r"|/gradio_api/file=/[^:]+",
    "POST": rf"{_EVENTS}|{UPLOAD}|/gradio_api/(cancel|reset)",
}


class Gate:
    """An ASGI application whose clients reach only the routes of the page."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap Gradio's application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it.

        Raises:
          APIError: there is no such route, or the request is no event of the page.
        """
        if scope["type"] == "http":
            method = scope["method"].replace("HEAD", "GET")
            if not re.fullmatch(_ROUTES.get(method, "(?!)"), scope["path"]):
                raise APIError(404, "Not Found", code="not_found")
            if scope["path"] == _EVENTS:
                receive = await _checked(receive)
        await self._app(scope, receive, send)


async def _checked(receive: Receive) -> Receive:
    """Read an event, which the Guard bounds, and return a `receive` that gives it again.

    Raises:
      APIError: the event is no JSON, or names a file or an address in Gradio's form: the page sends
        none, and Gradio would fetch it.
    """
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid("event: expected JSON", "event") from error
    if _names_a_file(event.get("data") if isinstance(event, dict) else None):
        raise invalid("event: expected no files", "event")
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _names_a_file(value: Any) -> bool:
    """Tell whether a value holds Gradio's description of a file."""
    if isinstance(value, dict):
        return "meta" in value or any(map(_names_a_file, value.values()))
    return isinstance(value, list) and any(map(_names_a_file, value))
