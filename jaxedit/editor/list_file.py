"""The file of a list: JSON lines with a photo and an instruction each, or a prompt."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from jaxedit.config import ConfigError, require, require_seed, require_words
from jaxedit.data import json_lines

EDIT = {"image": str, "instruction": str}  # keys of a row that is edited; the text is last
DRAW = {"prompt": (str, int)}  # of a row that is drawn; a number is a class
OPTIONAL = {"seed": int, "output": str}
PICTURES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_OF_EDITS = {"mask": str}  # optional keys of a row that is edited


@dataclasses.dataclass(frozen=True)
class Row:
    """A picture to make: a line of a list, or the arguments of a command.

    Attributes:
      place: "list.jsonl:3", for messages.
      image: path of the source picture; empty if there is none.
      mask: path of the mask of where the picture may change; empty if there is none.
      text: the instruction or the prompt.
      seed: of the picture.
      output: path below the output folder; empty if the row is not of a list.
      error: why the row cannot be done, or empty; the other fields may then be empty too.
    """

    place: str = ""
    image: str = ""
    mask: str = ""
    text: str = ""
    seed: int = 0
    output: str = ""
    error: str = ""


def read(
    path: pathlib.Path,
    seed: int,
    folder: pathlib.Path | None = None,
    *,
    keys: Mapping[str, Any] = EDIT,
) -> list[Row]:
    """Read all rows of a list; a bad row has an `error`.

    Two rows may not write the same file, under any spelling, and no row a picture of the list.

    Args:
      path: the list, whose folder relative image paths start from.
      seed: row i has the seed `seed + i`, unless the list gives it a seed.
      folder: where outputs will be; None: the list's folder.
      keys: `EDIT` or `DRAW`; a row may also have the keys of `OPTIONAL`, and an edit a "mask".

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
            _check_keys(line.values, keys)
            rows.append(_row(line.values, keys, place, path.parent, seed, index))
        except ConfigError as error:
            rows.append(Row(place, error=str(error)))
    return _without_clashes(rows, folder or path.parent)


def of_folder(path: pathlib.Path, instruction: str, seed: int, folder: pathlib.Path) -> list[Row]:
    """Return a row for every picture in a folder, in the order of their names.

    Args:
      path: pictures are told by their suffixes; folders in it are not searched.
      instruction: of all rows.
      seed: row i has the seed `seed + i`.
      folder: where outputs will be.

    Raises:
      ConfigError: there is no picture, or outputs would be pictures of the same folder when the
        command is run again.
    """
    require(
        not (folder.exists() and folder.samefile(path)),
        f"{folder}: the folder of the pictures: expected another folder for the outputs",
    )
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    require(bool(files), f"{path}: no pictures in it: expected names in {', '.join(PICTURES)}")
    rows = [
        _row({"image": file.name, "instruction": instruction}, EDIT, file.name, path, seed, index)
        for index, file in enumerate(files)
    ]
    return _without_clashes(rows, folder)


def _check_keys(values: dict[str, Any], keys: Mapping[str, Any]) -> None:
    """Raise ConfigError if a key is unknown or missing, or has a value of another type."""
    types = {**keys, **(_OF_EDITS if "image" in keys else {}), **OPTIONAL}
    unknown = sorted(values.keys() - types.keys())
    require(not unknown, f"unknown keys {unknown}: expected {', '.join(types)}")
    missing = [key for key in keys if key not in values]
    require(not missing, f"missing keys {missing}: expected {', '.join(keys)}")
    for key, value in values.items():
        expected = types[key]
        name = "str or int" if isinstance(expected, tuple) else expected.__name__
        require(isinstance(value, expected), f"{key}={value!r}: expected {name}")


def _row(
    values: dict[str, Any],
    keys: Mapping[str, Any],
    place: str,
    folder: pathlib.Path,
    seed: int,
    index: int,
) -> Row:
    """Return row `index` of the list in a folder."""
    seed = values.get("seed", seed + index)
    require_seed(seed)
    *_, name = keys
    image, text = values.get("image"), str(values[name])
    require_words(text, name)
    stem = f"-{pathlib.PurePath(image).stem}" if image is not None else ""
    output = values.get("output", f"{index:04d}{stem}.png")
    path = pathlib.PurePath(output)
    require(
        not path.is_absolute() and ".." not in path.parts and output.lower().endswith(".png"),
        f"output={output!r}: expected a .png name below the output folder",
    )
    files = {key: str(folder / values[key]) for key in ("image", "mask") if values.get(key)}
    return Row(place, text=text, seed=seed, output=output, **files)


def _without_clashes(rows: list[Row], folder: pathlib.Path) -> list[Row]:
    """Return the rows, with an error if the output is another row's, a source or a mask."""
    key = _key_of_paths(folder)
    files = [(file, row.place) for row in rows for file in (row.image, row.mask) if file]
    sources = {key(pathlib.Path(file)): place for file, place in files}
    taken: dict[str, str] = {}
    checked = []
    for row in rows:
        path, error = key(folder / row.output), row.error
        if not error and path in taken:
            error = f"output={row.output!r}: an earlier row has it too ({taken[path]})"
        elif not error and path in sources:
            error = f"output={row.output!r}: would replace the picture of {sources[path]}"
        if not error:
            taken[path] = row.place
        checked.append(Row(row.place, error=error) if error else row)
    return checked


def _key_of_paths(folder: pathlib.Path) -> Callable[[pathlib.Path], str]:
    """Return a function that gives all spellings of a path in a folder the same key.

    Whether upper and lower case are equal depends on the folder's file system.
    """
    there = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), folder)
    ignores_case = False
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=there, prefix="Aa") as file:
        ignores_case = os.path.exists(os.path.join(there, os.path.basename(file.name).swapcase()))

    def key(path: pathlib.Path) -> str:
        name = unicodedata.normalize("NFC", os.path.realpath(path))
        return name.casefold() if ignores_case else name

    return key
