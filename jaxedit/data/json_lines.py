"""Text files with a JSON object per line, as editors and spreadsheets of all systems write them.

The encoding is UTF-8, or UTF-16 or UTF-32 with a byte order mark; lines end in LF, CRLF or CR.
Characters such as U+2028, at which `str.splitlines` also splits, may occur inside a text. A damaged
line does not affect other lines.
"""

import codecs
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from jaxedit.config import ConfigError, require

# UTF-32 first: its mark begins with the mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NO_OBJECT = "expected a JSON object"  # the error of a line with other JSON
_UNUSABLE = re.compile("[\0\ud800-\udfff]")  # not allowed in file names or not in UTF-8


@dataclasses.dataclass(frozen=True)
class Line:
    """A line that is not blank."""

    number: int  # number of the line in the file, from 1
    # the JSON object; empty if there is an error
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ""  # why the line is not a JSON object, or empty


def read(path: str | os.PathLike) -> list[Line]:
    """Read all lines that are not blank; a damaged line has an `error`.

    Raises:
      OSError: the file cannot be read.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from error
    numbered = enumerate(re.split(rb"\r\n|\n|\r", _as_utf_8(data)), start=1)
    return [_parse(number, line) for number, line in numbered if line.strip()]


def require_some(path: str | os.PathLike, lines: list[Line]) -> None:
    """Raise ConfigError if no line of a file is a JSON object."""
    first = f"; line {lines[0].number}: {lines[0].error}" if lines else ""
    are_none = all(line.error for line in lines)
    require(not are_none, f"{path}: expected lines of JSON, found none{first}")


def _as_utf_8(data: bytes) -> bytes:
    """Return the text in UTF-8; damaged characters become bytes that are invalid in UTF-8, too."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            text = data.decode(encoding, "replace").replace("\ufffd", "\udcff")
            return text.encode("utf-8", "surrogateescape")
    return data.removeprefix(codecs.BOM_UTF8)


def _parse(number: int, line: bytes) -> Line:
    try:
        # Files that were concatenated have a mark in the middle.
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8")
        values = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        require(isinstance(values, dict), NO_OBJECT)
        for text in _texts(values):
            if found := _UNUSABLE.search(text):
                raise ConfigError(f"{text[:40]!r}: {found[0]!r} is not a whole character")
    except UnicodeDecodeError as error:
        return Line(number, error=f"byte {error.start + 1} is not text in UTF-8")
    except json.JSONDecodeError as error:
        return Line(number, error=f"not JSON: {error.msg} (column {error.colno})")
    except RecursionError:
        return Line(number, error="not JSON: nested too deeply")
    except ConfigError as error:
        return Line(number, error=str(error))
    except ValueError as error:  # a number of thousands of digits
        return Line(number, error=f"not JSON: {str(error).partition(':')[0]}")
    return Line(number, values)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        require(key not in values, f"{key!r} occurs twice")
        values[key] = value
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ConfigError(f"not JSON: {name}")


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a JSON value, including keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
