"""The rows of a table: the published rows, and our rows from folders of results."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxedit.evaluate.tables.folder import Folder
from jaxedit.evaluate.tables.published import Column, Table

NONE = "–"  # in place of a number


class Cell(NamedTuple):
    """A cell of a table and its footnotes."""

    text: str
    notes: tuple[str, ...] = ()


Row = list[Cell]


def published_rows(table: Table) -> list[Row]:
    """Return the paper's rows; numbers known to be doubtful have a footnote."""
    return [_published_row(table, values) for values in table.rows]


def our_rows(table: Table, folders: Sequence[Folder]) -> list[Row]:
    """Return a row for each model; results of several benchmarks may share a row."""
    return [
        [_our_cell(table, column, group) for column in table.columns]
        for group in _groups([f for f in folders if f.benchmark in table.benchmarks])
    ]


def is_scored(table: Table, folders: Sequence[Folder]) -> bool:
    """Tell whether a folder has a number for the table."""
    return any(
        folder.benchmark == column.benchmark and not isinstance(folder.find(column), str)
        for folder in folders
        for column in table.columns
    )


def label(folders: Sequence[Folder]) -> str:
    """Return the name of a row of ours."""
    paths = ", ".join(str(folder.path) for folder in folders)
    return f"{folders[0].edits}{' on toybox' if folders[0].is_toy else ''} ({paths})"


def _groups(folders: Sequence[Folder]) -> list[list[Folder]]:
    """Return folders that hold the same edits of different benchmarks together."""
    groups: list[list[Folder]] = []
    for folder in folders:
        same = (
            group
            for group in groups
            if (group[0].edits, group[0].options) == (folder.edits, folder.options)
            and folder.benchmark not in {other.benchmark for other in group}
        )
        if (group := next(same, None)) is None:
            groups.append([folder])
        else:
            group.append(folder)
    return groups


def _published_row(table: Table, values: Sequence[str | float | None]) -> Row:
    cells = []
    for column, value in zip(table.columns, values, strict=True):
        notes = [
            note.text
            for note in table.notes
            if column.name in note.columns and (not note.rows or set(note.rows) & set(values))
        ]
        if value is None:
            notes.append("this package does not have the paper's number")
        text = f"{value:.{column.decimals}f}" if isinstance(value, float | int) else value or NONE
        cells.append(Cell(text, tuple(notes)))
    return cells


def _our_cell(table: Table, column: Column, group: Sequence[Folder]) -> Cell:
    if column.setting == "label":
        return Cell(label(group), tuple(note for folder in group for note in _about(table, folder)))
    if column.setting:
        value = group[0].settings.get(column.setting)
        reason = f"{column.setting} is not recorded with the results"
        return Cell(NONE, (reason,)) if value is None else Cell(str(value))
    if not column.score:
        return Cell(NONE, ("not recorded with the results",))
    found = [folder.find(column) for folder in group if column.benchmark in ("", folder.benchmark)]
    if not found:
        return Cell(NONE, (f"no results of {column.benchmark}",))
    mean = next((mean for mean in found if not isinstance(mean, str)), None)
    if mean is None:
        return Cell(NONE, (found[0],))
    notes = (f"without {mean.n_inf} edits of infinite value",) if mean.n_inf else ()
    return Cell(f"{mean.value * column.factor:.{column.decimals}f}", notes)


def _about(table: Table, folder: Folder) -> list[str]:
    """Return why a row is not to be compared with the published rows."""
    if folder.is_toy:
        return ["toybox, not PIE-Bench, and its exact checker, not GPT-4o: not comparable"]
    count = table.benchmarks[folder.benchmark]
    is_whole = folder.count == count
    return [] if is_whole else [f"{folder.count} of {folder.benchmark}'s {count} edits"]
