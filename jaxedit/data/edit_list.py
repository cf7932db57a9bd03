"""Lists of edits: a JSONL file with one picture and one instruction per line."""

import dataclasses
import pathlib
from typing import Any

from jaxedit.config import ConfigError, require, require_seed
from jaxedit.data import json_lines

KEYS = {"image": str, "instruction": str, "seed": int, "output": str}
NEEDED = ("image", "instruction")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a list.

    Attributes:
      place: "list.jsonl:3", for messages.
      image: path of the picture, as in the list or relative to the list's folder.
      instruction: what to change.
      seed: of the edit.
      output: name below the output folder.
      error: why the row cannot be edited, or empty; the other fields may then be empty too.
    """

    place: str
    image: str = ""
    instruction: str = ""
    seed: int = 0
    output: str = ""
    error: str = ""


def read(path: pathlib.Path, seed: int) -> list[Row]:
    """All rows of a list, the bad ones with their `error`.

    Args:
      path: JSONL; a row has "image" and "instruction", and maybe "seed" and "output". Images are
        looked for in the list's folder.
      seed: the i-th row without a seed of its own gets `seed + i`.

    Raises:
      OSError: the list cannot be read.
      ValueError: no line of the list is a JSON object.
    """
    rows, taken = [], set()
    for index, line in enumerate(json_lines.read(path)):
        place = f"{path.name}:{line.number}"
        try:
            require(not line.error, line.error)
            row = _row(line.values, place, path.parent, seed + index, f"{index:04d}")
            require(row.output not in taken, f"output={row.output!r}: an earlier row has it too")
        except ConfigError as error:
            row = Row(place, error=str(error))
        taken.add(row.output)
        rows.append(row)
    return rows


def _row(values: dict[str, Any], place: str, folder: pathlib.Path, seed: int, index: str) -> Row:
    unknown = sorted(values.keys() - KEYS.keys())
    require(not unknown, f"unknown keys {unknown}: expected {', '.join(KEYS)}")
    missing = [key for key in NEEDED if key not in values]
    require(not missing, f"missing keys {missing}")
    for key, value in values.items():
        kind = KEYS[key]
        require(isinstance(value, kind), f"{key}={value!r}: expected {kind.__name__}")
    seed = values.get("seed", seed)
    require_seed(seed)
    output = values.get("output", f"{index}-{pathlib.PurePath(values['image']).stem}.png")
    inside = (
        not pathlib.PurePath(output).is_absolute() and ".." not in pathlib.PurePath(output).parts
    )
    require(
        inside and output.lower().endswith(".png"),
        f"output={output!r}: expected a .png name below the output folder",
    )
    return Row(place, str(folder / values["image"]), values["instruction"], seed, output)
