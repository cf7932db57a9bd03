"""Requests of every kind, good and broken, and what is wrong with the answers to them."""

import http.client
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from serving import WORDS, file_of, picture

from jaxedit.serve.fields import FIELDS

URL = "/v1/images/edits"
BOUNDARY = "0123456789abcdef"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
SHAPES = ((24, 16), (16, 24), (40, 40), (5, 3))
GOOD = 12  # different good edits
FREE = ("user", "quality", "input_fidelity", "moderation")  # fields of any text
_WRONG = {
    "prompt": ("", " \n"),
    "model": ("nonesuch", ""),
    "size": ("0x0", "1x2x3", "x"),
    "dilation": ("0", "2", "9" * 20),
    "growth": ("0", "2", "9" * 20),
}
NUMBERS = ("much", "nan", "-inf", "1e999", "0x1", "1,,2", "", "9" * 5000, "\N{SUPERSCRIPT TWO}")
PAGE = ("/gradio_api/", "/static/", "/assets/")  # Gradio's own errors
SECONDS = 120  # after which an answer is lost


class Request(NamedTuple):
    """A request as bytes, and how it is sent.

    Attributes:
      kind: for the table.
      wire: all its bytes.
      codes: of HTTP that are right; none: the client leaves without an answer.
      good: number of the good edit; None: another request.
      pace: bytes that are sent at a time, each a millisecond after the last; 0: all at once.
      is_api: whether an error has the form of the API.
    """

    kind: str
    wire: bytes
    codes: frozenset[int]
    good: int | None = None
    pace: int = 0
    is_api: bool = True


class Answer(NamedTuple):
    """An answer of the server."""

    code: int
    headers: http.client.HTTPMessage
    body: bytes


def mixed(count: int, seed: int, *, max_bytes: int) -> Iterator[Request]:
    """Yield requests, of which two in five are good edits.

    Args:
      max_bytes: of a request at this server.
    """
    draw = random.Random(seed)
    others = (*_KINDS, lambda draw: _large(draw, max_bytes))
    for _ in range(count):
        is_good = draw.random() < 0.4
        yield good(draw.randrange(GOOD)) if is_good else draw.choice(others)(draw)


def send(address: tuple[str, int], request: Request) -> Answer | None:
    """Send a request by a connection of its own; return the answer, None if there is none."""
    with socket.create_connection(address, timeout=SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            step = request.pace or len(request.wire)
            for start in range(0, len(request.wire), step):
                connection.sendall(request.wire[start : start + step])
                time.sleep(0.001 if request.pace else 0)
        except OSError:
            pass  # a server may answer before it has read everything
        if not request.codes:
            # half of the clients that leave reset the connection
            linger = struct.pack("ii", len(request.wire) % 2, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return None
        try:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            return None


def fault_of(request: Request, answer: Answer | None, alone: list[list[object]]) -> str | None:
    """Return what is wrong with an answer; None: nothing.

    Args:
      alone: see `pictures_of`, for each good edit.
    """
    if not request.codes:
        return None
    if answer is None:
        return "lost"
    if answer.code not in request.codes:
        return f"{answer.code}: {answer.body[:200]!r}"
    if b"Traceback" in answer.body:
        return f"a traceback: {answer.body[:200]!r}"
    if request.good is not None and answer.code == 200:
        return None if pictures_of(answer) == alone[request.good] else "another picture than alone"
    if request.is_api and answer.code != 200:
        return _fault_of_error(answer)
    return None


def pictures_of(answer: Answer) -> list[object]:
    """Return the seeds and files in the answer to a good edit."""
    assert answer.code == 200, answer.body[:200]
    return json.loads(answer.body)["data"]


def good(number: int, **how: int) -> Request:
    """Return a good edit of a picture: some have a mask, two seeds, or another format."""
    size, fields = SHAPES[number % len(SHAPES)], {"seed": str(number)}
    fields |= {"n": "2"} if number % 3 == 1 else {}
    fields |= {"output_format": "webp"} if number % 5 == 2 else {}
    parts = [_file("image", file_of(picture(*size, seed=number)))]
    if number % 4 == 3:
        parts.append(_file("mask", file_of(picture(*size, seed=number).convert("1"))))
    parts += [_text(name, text) for name, text in ({"prompt": WORDS} | fields).items()]
    kind = "slow clients" if how else "good edits"
    return Request(kind, _post(_form(parts)), frozenset({200}), number, **how)


def _slow(draw: random.Random) -> Request:
    return good(draw.choice([3, 7, 11]), pace=draw.choice([1, 1, 7]))  # the smallest picture


def _wrong_field(draw: random.Random) -> Request:
    name = draw.choice([name for name in FIELDS if name not in FREE])
    texts = NUMBERS if "enum" not in FIELDS[name].schema else ("nonesuch", "", "\0")
    texts = _WRONG.get(name, texts)
    method = [_text("method", "varedit+erec")] if name in ("dilation", "growth") else []
    parts = [*_needed(name), *method, _text(name, draw.choice(texts))]
    return _refused("bad values", _form(parts), 404 if name == "model" else 400)


def _wrong_part(draw: random.Random) -> Request:
    """Return a form with a part that it must not have."""
    image = file_of(picture())
    part = draw.choice(
        [
            _text("image", "/etc/passwd"),
            _file("prompt", image),
            _file("mask", b""),
            _file("mask", image[:-700]),
            _file("mask", file_of(picture(3, 3))),
            _text("nonesuch", "1"),
            _text("seed", b"\xff"),
            _file("image[]", image),
        ]
    )
    return _refused("bad parts", _form([*_needed(), part]), 400)


def _cut(draw: random.Random) -> Request:
    """Return a form that ends too early, in a request that is whole."""
    body = _form([*_needed(), _text("seed", "12345")])
    return _refused("truncated forms", body[: draw.randrange(len(body) - 4)], 400)


def _mutated(draw: random.Random) -> Request:
    body = bytearray(_form(_needed()))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(body))
        body[at : at + draw.randrange(9)] = draw.randbytes(draw.randrange(9))
    return Request("mutated forms", _post(bytes(body)), frozenset({200, 400, 404, 415}))


def _wrong_type(draw: random.Random) -> Request:
    kind = draw.choice(
        ["application/json", "text/html", "", "multipart/form-data", "multipart/mixed", "\xff"]
        + [f"multipart/form-data; boundary={text}" for text in ("", "other", "x" * 300)]
    )
    wire = _post(_form(_needed()), kind)
    return Request("wrong types", wire, frozenset({400, 415}))


def _left(draw: random.Random) -> Request:
    wire = good(draw.randrange(GOOD)).wire
    end = draw.choice([len(wire), draw.randrange(1, len(wire))])
    return Request("clients that leave", wire[:end], frozenset())


def _large(draw: random.Random, max_bytes: int) -> Request:
    """Return a request that is over one of the limits."""
    part, code = draw.choice(
        [
            (_text("user", b"x" * 150_000), 400),
            (_file("mask", b"x" * (2 * max_bytes)), 413),
            (_text("n", "11"), 400),
            (b"".join(_file("image[]", b"") for _ in range(30)), 400),
            (b"".join(_text("user", "") for _ in range(100)), 400),
            (_file("mask", file_of(picture(1, 1).resize((33_000, 1)))), 400),
        ]
    )
    body = _form([*_needed(), part])
    if draw.random() < 0.5:
        return _refused("over the limits", body, code)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    wire = _head("POST", URL, f"Content-Type: {FORM}", "Transfer-Encoding: chunked") + chunks
    return Request("over the limits", wire, frozenset({code}))


def _route(draw: random.Random) -> Request:
    method = draw.choice(["GET", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PROPFIND"])
    path = draw.choice(
        ["/v1", "/v1/", "/v2/models", "/%00", "/../etc/passwd", "/" + "a" * 5000, "/v1/models/x"]
        + ["/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/upload", "/login"]
        + ["/static/../../setup.py", "/assets/%2e%2e/%2e%2e/x", "/gradio_api/queue/join", "/%ff"]
        + ["/gradio_api/cancel", "/gradio_api/queue/data?session_hash=", "/gradio_api/call/edit"]
    )
    codes = frozenset({400, 403, 404, 405, 422})
    wire = _head(method, path, "Content-Length: 2") + b"[]"
    return Request("unknown routes", wire, codes, is_api=not path.startswith(PAGE))


def _no_http(draw: random.Random) -> Request:
    """Return bytes that uvicorn refuses before the application."""
    wire = draw.choice(
        [
            draw.randbytes(50) + b"\r\n\r\n",
            b"GET /\r\n\r\n",
            _head("POST", URL, "Content-Length: -1"),
            _head("POST", URL, "Content-Length: 1", "Content-Length: 2"),
        ]
    )
    return Request("not HTTP", wire, frozenset({400}), is_api=False)


_KINDS: tuple[Callable[[random.Random], Request], ...] = (
    _slow,
    _wrong_field,
    _wrong_field,
    _wrong_part,
    _cut,
    _mutated,
    _wrong_type,
    _left,
    _route,
    _no_http,
)


def _fault_of_error(answer: Answer) -> str | None:
    try:
        (error,) = json.loads(answer.body).values()
        is_right = set(error) == {"message", "type", "param", "code"}
        is_right = is_right and len(error["message"].splitlines()) == 1
    except (ValueError, AttributeError, TypeError):
        is_right = False
    return None if is_right else f"no error of the API: {answer.body[:200]!r}"


def _refused(kind: str, body: bytes, code: int) -> Request:
    return Request(kind, _post(body), frozenset({code}))


def _needed(*without: str) -> list[bytes]:
    """Return the parts that a form must have."""
    words = [] if "prompt" in without else [_text("prompt", WORDS)]
    return [_file("image", file_of(picture())), *words]


def _text(name: str, text: str | bytes) -> bytes:
    return _part(f'name="{name}"', text if isinstance(text, bytes) else text.encode())


def _file(name: str, data: bytes) -> bytes:
    return _part(f'name="{name}"; filename="a.png"', data)


def _part(what: str, data: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {what}\r\n\r\n"
    return head.encode() + data + b"\r\n"


def _form(parts: list[bytes]) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _post(body: bytes, kind: str = FORM) -> bytes:
    return _head("POST", URL, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body


def _head(method: str, path: str, *lines: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
