"""The published tables, from published.json."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

_FILE = pathlib.Path(__file__).with_name("published.json")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table, and which of our numbers belongs there; text if there is none."""

    name: str
    score: str = ""  # name in `scores.registry.SCORES`, or a judge's
    benchmark: str = ""  # empty: any
    type: str = ""  # of samples; empty: all
    factor: float = 1.0  # from our mean to the table's unit
    decimals: int = 2
    setting: str = ""  # of a run, shown in place of a score; "label" names the run


@dataclasses.dataclass(frozen=True)
class Note:
    """A remark about published numbers."""

    text: str
    columns: tuple[str, ...] = ()  # names of the columns it is about; none: the whole table
    rows: tuple[str, ...] = ()  # texts in the rows it is about; none: all rows


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper; None stands for a number that is not known here."""

    name: str
    source: str  # paper and table
    about: str
    benchmarks: Mapping[str, int]  # benchmark -> number of edits
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    notes: tuple[Note, ...]


def read_tables() -> dict[str, Table]:
    """Return all tables by name."""
    found = json.loads(_FILE.read_text("utf-8"))
    columns = {key: Column(**values) for key, values in found["columns"].items()}
    return {name: _table(name, columns, values) for name, values in found["tables"].items()}


def _table(name: str, known: Mapping[str, Column], values: Mapping[str, Any]) -> Table:
    columns = [known[key] for key in values["columns"]]
    # A column for each type follows the column of all samples, which is the last.
    columns += [
        dataclasses.replace(columns[-1], name=title, type=type_)
        for type_, title in values.get("types", {}).items()
    ]
    notes = [
        Note(note["text"], tuple(note.get("columns", ())), tuple(note.get("rows", ())))
        for note in values.get("notes", ())
    ]
    return Table(
        name=name,
        source=values["source"],
        about=values["about"],
        benchmarks=values["benchmarks"],
        columns=tuple(columns),
        rows=tuple(tuple(row) for row in values["rows"]),
        notes=tuple(notes),
    )
