"""The fields of an edit's form: how their texts are read, and their description in OpenAPI."""

import dataclasses
from collections.abc import Callable
from typing import Any, get_args, get_origin

from jaxedit.config import FITS, methods_of
from jaxedit.config.checks import MAX_FEATHER
from jaxedit.config.comments import comments_of
from jaxedit.config.fields import choices_of, hints_of, interval_of, is_whole
from jaxedit.config.methods import PART_OF
from jaxedit.config.serving import MOST_EDITS
from jaxedit.data.prompts import TASKS
from jaxedit.serve.errors import invalid

# A text of a client, which a warning would write to the log.
_PRIVATE = {"recon_prompt"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MOST_NUMBERS = 64  # a number for each scale
_NUMBERS = rf"^[-+.0-9e]+(,[-+.0-9e]+){{0,{_MOST_NUMBERS - 1}}}$"


@dataclasses.dataclass(frozen=True)
class Field:
    """A field with a text.

    Attributes:
      parse: returns the value of a text, or raises ValueError.
      expected: what the text should be, for messages.
      schema: in JSON schema.
    """

    parse: Callable[[str], Any]
    expected: str
    schema: dict[str, Any]

    def read(self, name: str, text: str) -> Any:
        """Return the value of a text; raise APIError if it has none."""
        try:
            return self.parse(text)
        except (ValueError, KeyError) as error:
            message = f"{name}={text[:40]!r}: expected {self.expected}"
            raise invalid(message, name) from error


def text(description: str, **schema: Any) -> Field:
    """Return a field of any text."""
    return Field(str, "a text", {"type": "string", "description": description, **schema})


def choice(choices: tuple[str, ...], description: str, default: str | None = None) -> Field:
    """Return a field of one of several texts."""
    schema = {"type": "string", "enum": list(choices), "description": description}
    if default is not None:
        schema["default"] = default
    known = dict(zip(choices, choices, strict=True))
    return Field(known.__getitem__, " or ".join(choices), schema)


def whole(description: str, least: int, most: int, default: int | None = None) -> Field:
    """Return a field of a whole number from `least` to `most`."""
    schema = {"type": "integer", "minimum": least, "maximum": most, "description": description}
    if default is not None:
        schema["default"] = default

    def parse(text: str) -> int:
        number = _int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return Field(parse, f"a whole number from {least} to {most}", schema)


def boolean(description: str) -> Field:
    """Return a field of true or false."""
    schema = {"type": "boolean", "description": description}
    return Field(lambda text: _BOOLEANS[text.lower()], "true or false", schema)


def _int(text: str) -> int:
    if len(text) > 20:
        raise ValueError(text)
    return int(text)


def _numbers(text: str) -> float | tuple[float, ...]:
    parts = text.split(",", _MOST_NUMBERS)
    if len(parts) > _MOST_NUMBERS:
        raise ValueError(text)
    numbers = tuple(map(float, parts))
    return numbers if len(numbers) > 1 else numbers[0]


def _setting(name: str) -> Field:
    """Return the field of a setting; its type, range and comment are the dataclass's."""
    part = PART_OF[name]
    hint, comment = hints_of(part)[name], comments_of(part)[name]
    if choices := choices_of(hint):
        return choice(choices, comment)
    if hint is bool:
        return boolean(comment)
    if is_whole(hint):
        schema = {"type": "integer", "description": comment, **_bounds(hint)}
        return Field(_int, "a whole number", schema)
    if any(get_origin(kind) is tuple for kind in get_args(hint)):
        expected = "a number, or one per scale with commas between"
        schema = {"type": "string", "description": comment, "pattern": _NUMBERS}
        return Field(_numbers, expected, schema)
    return Field(float, "a number", {"type": "number", "description": comment, **_bounds(hint)})


def _bounds(hint: Any) -> dict[str, float]:
    """Return the range of a hint in JSON schema."""
    interval = interval_of(hint)
    if interval is None:
        return {}
    (low, high), found = interval.bounds, {}
    if abs(low) != float("inf"):
        found["minimum" if interval.text[0] == "[" else "exclusiveMinimum"] = low
    if abs(high) != float("inf"):
        found["maximum" if interval.text[-1] == "]" else "exclusiveMaximum"] = high
    return found


def _size(text: str) -> tuple[int, int] | None:
    if text == "auto":
        return None
    width, height = text.split("x")
    return _int(width), _int(height)


FORMATS = ("png", "jpeg", "webp")
_SIZE = {
    "type": "string",
    "pattern": "^(auto|[0-9]{1,20}x[0-9]{1,20})$",
    "description": "auto, or WIDTHxHEIGHT if this is the size that the edit has anyway",
}
_UNUSED = "accepted as OpenAI's clients send it; changes nothing"
# fields of `Editor.edit_batch`
OPTIONS = {
    "method": choice(tuple(methods_of("edit")), "of sampling; default: without ERec"),
    "task": choice(TASKS, "make a picture from a map; for canny, from a photo's edges"),
    "fit": choice(FITS, "edit the whole picture, on a white square, or its middle square"),
    "keep_size": boolean("paste a cropped square back into its picture"),
    "feather": whole("pixels of the seam inside a mask", 0, MAX_FEATHER),
    **{name: _setting(name) for name in PART_OF if name not in _PRIVATE},
}
# fields of OpenAI's images API, and the seed
REQUEST = {
    "prompt": text("the change, in words", minLength=1),
    "model": text("a name of GET /v1/models; default: the first"),
    "n": whole("variants, with the seeds seed, seed + 1, ...", 1, MOST_EDITS, 1),
    "seed": whole("equal seeds give equal bits", 0, 2**31 - 1, 0),
    "size": Field(_size, "auto, or WIDTHxHEIGHT", _SIZE),
    "response_format": choice(("b64_json", "url"), "this server keeps no files: b64_json"),
    "output_format": choice(FORMATS, "png carries the settings of the edit", "png"),
    "output_compression": whole("quality of jpeg and webp", 0, 100, 95),
    "background": choice(("auto", "opaque", "transparent"), "edits are opaque"),
    "stream": boolean("false: this server sends whole answers"),
    "partial_images": whole("0: this server sends whole answers", 0, 3),
    "user": text(_UNUSED),
    "quality": text(_UNUSED),
    "input_fidelity": text(_UNUSED),
    "moderation": text(_UNUSED),
}
FIELDS = REQUEST | OPTIONS


def reference() -> str:
    """Return a text that describes the form, with a line for each field."""
    lines = [
        f"{name}: {field.schema['description']} ({field.expected})"
        for name, field in FIELDS.items()
    ]
    head = "POST /v1/images/edits takes a form with an image, perhaps a mask, and these fields."
    return "\n".join([head, "/openapi.json describes every route for programs.", "", *lines, ""])


def request_body() -> dict[str, Any]:
    """Return the description of the form in OpenAPI."""
    file = {"type": "string", "format": "binary"}
    pictures = {
        "image": file | {"description": "the picture to edit"},
        "mask": file
        | {"description": "of the picture's size; edited where it is transparent or white"},
    }
    schema = {
        "type": "object",
        "required": ["image", "prompt"],
        "properties": pictures | {name: field.schema for name, field in FIELDS.items()},
        "additionalProperties": False,
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
