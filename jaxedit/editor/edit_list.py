"""Lists of pictures to make: JSONL files with a photo and an instruction, or a prompt, per line."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from jaxedit.config import ConfigError, require, require_seed
from jaxedit.data import json_lines

EDIT = {"image": str, "instruction": str}  # what a row of a list of edits must have
DRAW = {"prompt": (str, int)}  # a number is a class
OPTIONAL = {"seed": int, "output": str}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a list.

    Attributes:
      place: "list.jsonl:3", for messages.
      image: path of the picture, as in the list or relative to the list's folder; empty for a
        list of prompts.
      text: the instruction or the prompt.
      seed: of the picture.
      output: name below the output folder.
      error: why the row cannot be done, or empty; the other fields may then be empty too.
    """

    place: str
    image: str = ""
    text: str = ""
    seed: int = 0
    output: str = ""
    error: str = ""


def read(
    path: pathlib.Path,
    seed: int,
    folder: pathlib.Path | None = None,
    *,
    needed: Mapping[str, Any] = EDIT,
) -> list[Row]:
    """Read all rows of a list, the bad ones with their `error`.

    Two rows may not write the same file, however it is spelled, and none a picture of the list.

    Args:
      path: JSONL; a row has the needed keys, and maybe "seed" and "output". Images are looked for
        in the list's folder.
      seed: the i-th row without a seed of its own gets `seed + i`.
      folder: where outputs will be; None: the list's folder.
      needed: `EDIT` or `DRAW`.

    Raises:
      OSError: the list cannot be read.
      ValueError: no line of the list is a JSON object.
    """
    rows, lines = [], json_lines.read(path)
    json_lines.require_some(path, lines)
    for index, line in enumerate(lines):
        place = f"{path.name}:{line.number}"
        try:
            require(not line.error, line.error)
            rows.append(_row(line.values, needed, place, path.parent, seed + index, f"{index:04d}"))
        except ConfigError as error:
            rows.append(Row(place, error=str(error)))
    return _without_clashes(rows, folder or path.parent)


def _without_clashes(rows: list[Row], folder: pathlib.Path) -> list[Row]:
    """Return the rows, with an error where an output is another's too, or a source."""
    key = _spelling(folder)
    sources = {key(pathlib.Path(row.image)): row.place for row in rows if row.image}
    taken: dict[str, str] = {}
    checked = []
    for row in rows:
        place = key(folder / row.output)
        if not row.error and place in taken:
            error = f"output={row.output!r}: an earlier row has it too ({taken[place]})"
            row = Row(row.place, error=error)
        elif not row.error and place in sources:
            error = f"output={row.output!r}: would replace the picture of {sources[place]}"
            row = Row(row.place, error=error)
        elif not row.error:
            taken[place] = row.place
        checked.append(row)
    return checked


def _spelling(folder: pathlib.Path) -> Callable[[pathlib.Path], str]:
    """Return what makes equal of all spellings of a path that the folder's file system equates."""
    there = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), folder)
    ignores_case = False
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=there, prefix="Aa") as file:
        ignores_case = os.path.exists(os.path.join(there, os.path.basename(file.name).swapcase()))

    def key(path: pathlib.Path) -> str:
        name = unicodedata.normalize("NFC", os.path.realpath(path))
        return name.casefold() if ignores_case else name

    return key


def _row(
    values: dict[str, Any],
    needed: Mapping[str, Any],
    place: str,
    folder: pathlib.Path,
    seed: int,
    index: str,
) -> Row:
    kinds = {**needed, **OPTIONAL}
    unknown = sorted(values.keys() - kinds.keys())
    require(not unknown, f"unknown keys {unknown}: expected {', '.join(kinds)}")
    missing = [key for key in needed if key not in values]
    require(not missing, f"missing keys {missing}")
    for key, value in values.items():
        kind = kinds[key]
        name = "str or int" if isinstance(kind, tuple) else kind.__name__
        require(isinstance(value, kind), f"{key}={value!r}: expected {name}")
    seed = values.get("seed", seed)
    require_seed(seed)
    has_image, text_key = "image" in needed, list(needed)[-1]
    stem = f"-{pathlib.PurePath(values['image']).stem}" if has_image else ""
    output = values.get("output", f"{index}{stem}.png")
    inside = (
        not pathlib.PurePath(output).is_absolute() and ".." not in pathlib.PurePath(output).parts
    )
    require(
        inside and output.lower().endswith(".png"),
        f"output={output!r}: expected a .png name below the output folder",
    )
    image = str(folder / values["image"]) if has_image else ""
    return Row(place, image, str(values[text_key]), seed, output)
