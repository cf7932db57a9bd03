"""A user's own pairs, in any of three forms.

A folder with the same file names in all subfolders, with any endings:

    my_pairs/source/cat.jpg  my_pairs/target/cat.png  my_pairs/instruction/cat.txt
    my_pairs/mask/cat.png    (optional: white = edited)

A .jsonl file with a line `{"source": "a.jpg", "target": "b.jpg", "instruction": "make it snow"}`
for each pair, or a .csv file with these names in its header. Both may have the further columns
"mask" and "task"; paths are relative to the file. A folder with such a file stands for the file.
"""

import csv
import io
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxedit.config import ConfigError, require
from jaxedit.data import json_lines, prompts
from jaxedit.datasets.readers.example import Drop, Example

_ROWS = 200  # rows per piece
_REQUIRED = ("source", "target", "instruction")
_COLUMNS = (*_REQUIRED, "mask", "task")
_MAPS = ("canny", "segmentation")  # tasks whose sources JPEG would damage


class Pairs:
    """The pairs of a folder, a .jsonl or a .csv file."""

    name = "pairs"

    def __init__(self, directory: str | os.PathLike) -> None:
        """Read the list of pairs, but not the pictures.

        Raises:
          ConfigError: the directory or file is not a list of pairs.
        """
        path = pathlib.Path(directory)
        if path.is_dir():
            tables = sorted(p for p in path.iterdir() if p.suffix in _TABLES)
            names = ", ".join(table.name for table in tables)
            require(len(tables) < 2, f"--src={path}: expected one list, found {names}")
            path = tables[0] if tables else path
        require(path.exists(), f"--src={path}: no such file or directory")
        is_table = path.suffix in _TABLES and path.is_file()
        require(is_table or path.is_dir(), f"--src={path}: expected a folder, .jsonl or .csv")
        self._base = path.parent if is_table else path
        self._rows = list(_TABLES[path.suffix](path) if is_table else _folder(path))
        tasks = {row.values.get("task") or "edit" for row in self._rows if not row.fault}
        maps = tasks & set(_MAPS)
        require(
            not maps or tasks == maps,
            f"--src={path}: expected maps ({', '.join(sorted(maps))}) and other pairs in separate "
            "stores, because maps are stored without loss",
        )
        self.keeps_labels = bool(maps)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the list: each worker process receives its pieces separately."""
        return vars(self) | {"_rows": []}

    def parts(self) -> list[tuple["_Row", ...]]:
        """Return the list in pieces."""
        starts = range(0, len(self._rows), _ROWS)
        return [tuple(self._rows[start : start + _ROWS]) for start in starts]

    def read(self, part: tuple["_Row", ...]) -> Iterator[Example | Drop]:
        """Yield the pairs of a piece."""
        for row in part:
            yield Drop(row.key, row.fault) if row.fault else self._example(row)

    def _example(self, row: "_Row") -> Example | Drop:
        task = row.values.get("task") or "edit"
        pictures = {}
        for name in ("source", "target", "mask"):
            if path := row.values.get(name):
                try:
                    pictures[name] = (self._base / path).read_bytes()
                except (OSError, ValueError):  # ValueError: a path that no file can have
                    return Drop(row.key, f"{name} not found")
        return Example(
            key=row.key,
            source=pictures["source"],
            target=pictures["target"],
            mask=pictures.get("mask"),
            instruction=row.values["instruction"],
            task=task if task in prompts.TASKS else "edit",
            edit_type_raw="" if task in prompts.TASKS or task == "edit" else task,
        )


class _Row(NamedTuple):
    """A listed pair: texts by column, or the reason why the row is not a pair."""

    key: str
    values: dict[str, str]
    fault: str = ""


def _jsonl(path: pathlib.Path) -> Iterator[_Row]:
    for line in json_lines.read(path):
        key = f"{path.name}:{line.number}"
        texts = not line.error and all(isinstance(v, str) for v in line.values.values())
        yield _checked(key, line.values) if texts else _Row(key, {}, "not a line of texts")


def _csv(path: pathlib.Path) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = reader.fieldnames or ()
        require(
            set(_REQUIRED) <= set(header) <= set(_COLUMNS),
            f"{path}: columns {', '.join(header)}: expected {', '.join(_REQUIRED)} and perhaps "
            "mask and task",
        )
        for values in reader:
            key = f"{path.name}:{reader.line_num}"
            whole = None not in values and None not in values.values()
            yield _checked(key, values) if whole else _Row(key, {}, "wrong number of columns")
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: expected CSV: {error}") from error


def _folder(path: pathlib.Path) -> Iterator[_Row]:
    missing = [name for name in _REQUIRED if not (path / name).is_dir()]
    require(
        not missing,
        f"--src={path}: {', '.join(missing)} missing: expected source/, target/ and instruction/, "
        "a .jsonl or a .csv file",
    )
    files = {name: _by_stem(path / name) for name in (*_REQUIRED, "mask")}
    for stem in sorted(set().union(*(files[name] for name in _REQUIRED))):
        found = {name: paths[stem] for name, paths in files.items() if stem in paths}
        absent = [name for name in _REQUIRED if name not in found]
        if absent:
            yield _Row(stem, {}, f"{absent[0]} not found")
            continue
        try:
            instruction = (path / found.pop("instruction")).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            yield _Row(stem, {}, "instruction not readable")
            continue
        yield _checked(stem, {**found, "instruction": instruction})


def _by_stem(directory: pathlib.Path) -> dict[str, str]:
    """Return file names without endings -> paths relative to the parent folder."""
    paths: dict[str, str] = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        if not path.name.startswith("."):
            twice = f"{directory}: expected one file of the name {path.stem}, found several"
            require(path.stem not in paths, twice)
            paths[path.stem] = f"{directory.name}/{path.name}"
    return paths


def _checked(key: str, values: dict[str, str]) -> _Row:
    """Return a row, with its fault if it is not a pair."""
    known = (*prompts.TASKS, "edit", "add_remove", "other", "")
    if set(values) - set(_COLUMNS):
        return _Row(key, {}, "unknown column")
    if not values.get("instruction", "").strip():
        return _Row(key, {}, "empty instruction")
    for name in ("source", "target"):
        if not values.get(name):
            return _Row(key, {}, f"no {name}")
    return _Row(key, values, "" if values.get("task", "") in known else "unknown task")


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a readable text file of pairs: {error}") from error


_TABLES = {".jsonl": _jsonl, ".csv": _csv}
