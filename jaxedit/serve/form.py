"""The form of an edit, as clients of OpenAI's images API send it."""

import contextlib
import dataclasses
import difflib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from jaxedit.serve.edited import Upload
from jaxedit.serve.errors import APIError, invalid
from jaxedit.serve.fields import FIELDS, OPTIONS

_FILES = ("image", "image[]", "mask")
_MOST_FILES = 17  # OpenAI's limit: 16 pictures and a mask
_MOST_TEXT = 100_000  # bytes of a field
_MOST_BLANKS = 16  # after the last boundary


@dataclasses.dataclass(frozen=True)
class EditForm:
    """The fields of a form, read but not checked against a model.

    Attributes:
      values: of `fields.REQUEST`.
      options: of `fields.OPTIONS`.
    """

    image: Upload
    mask: Upload | None
    values: dict[str, Any]
    options: dict[str, Any]


async def read_form(request: Request) -> EditForm:
    """Read the form in a request.

    Raises:
      APIError: it is no form, or a field is missing, unknown, given twice or has a wrong text.
      HTTPException: the form is broken.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        message = f"Content-Type: {kind[:40]!r}: expected multipart/form-data"
        raise APIError(415, message, code="unsupported_type")
    async with _form_of(request) as form:
        files = {name: await _files_of(form, name) for name in _FILES}
        texts = [(name, value) for name, value in form.multi_items() if name not in _FILES]
        pictures = files["image"] + files["image[]"]
        if len(pictures) != 1:
            raise invalid(f"image: {len(pictures)} pictures: expected 1 picture to edit", "image")
        if len(files["mask"]) > 1:
            raise invalid(f"mask: {len(files['mask'])} masks: expected at most 1", "mask")
        values = _values_of(texts)
    if "prompt" not in values:
        raise invalid("prompt is missing: expected the change, in words", "prompt")
    return EditForm(
        image=pictures[0],
        mask=files["mask"][0] if files["mask"] else None,
        values={name: value for name, value in values.items() if name not in OPTIONS},
        options={name: value for name, value in values.items() if name in OPTIONS},
    )


@contextlib.asynccontextmanager
async def _form_of(request: Request) -> AsyncIterator[FormData]:
    """Parse a form; its files are deleted when the block ends."""
    limits = {
        "max_files": _MOST_FILES,
        "max_fields": len(FIELDS),
        "max_part_size": _MOST_TEXT,
    }
    try:
        async with _whole(request).form(**limits) as form:
            yield form
    except UnicodeError as error:
        raise invalid("a field's name or text: expected UTF-8") from error


def _whole(request: Request) -> Request:
    """Return a request that raises APIError if its form has no end.

    Starlette takes the fields before a cut as the whole form.
    """
    _, options = parse_options_header(request.headers["content-type"])
    end = b"\r\n--" + options.get(b"boundary", b"") + b"--"
    tail = b""

    async def receive() -> Message:
        nonlocal tail
        message = await request.receive()
        if message["type"] == "http.request":
            tail = (tail + message.get("body", b""))[-len(end) - _MOST_BLANKS :]
            if not message.get("more_body", False) and not tail.rstrip().endswith(end):
                raise invalid("the form is cut short: expected a last boundary")
        return message

    return Request(request.scope, receive)


async def _files_of(form: FormData, name: str) -> list[Upload]:
    found = []
    for value in form.getlist(name):
        if not isinstance(value, UploadFile):
            # A path or an address is a text like any other: nothing is opened.
            raise invalid(f"{name}: expected a picture file, found a text", name)
        kind = (value.content_type or "").partition(";")[0].strip().lower()
        if kind and not kind.startswith("image/") and kind != "application/octet-stream":
            message = f"{name}: {kind[:40]!r}: expected the Content-Type of a picture"
            raise APIError(415, message, code="unsupported_type", param=name)
        found.append(Upload(value.filename or name, await value.read()))
    return found


def _values_of(texts: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in texts:
        if name not in FIELDS:
            near = difflib.get_close_matches(name[:40], FIELDS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise invalid(f"{name[:40]!r}: no such field{hint}", name[:40])
        if name in values:
            raise invalid(f"{name}: given twice", name)
        if isinstance(value, UploadFile):
            raise invalid(f"{name}: expected a text, found a file", name)
        values[name] = FIELDS[name].read(name, value)
    return values
