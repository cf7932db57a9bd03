"""Tables as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence

from jaxedit.evaluate.tables.published import Table
from jaxedit.evaluate.tables.rows import Row


def as_markdown(table: Table, published: Sequence[Row], ours: Sequence[Row]) -> str:
    """Return a table with numbered footnotes; our rows are bold."""
    notes = list(
        dict.fromkeys(n for row in [*published, *ours] for cell in row for n in cell.notes)
    )
    grid = [[column.name for column in table.columns]]
    grid += [[] for _ in range(len(published) + len(ours))]
    for i, row in enumerate([*published, *ours], start=1):
        for text, marks in row:
            text = text.replace("|", "\\|")
            text = f"**{text}**" if i > len(published) else text
            grid[i].append("".join([text, *(f" [{notes.index(mark) + 1}]" for mark in marks)]))
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    grid.insert(1, ["-" * width for width in widths])
    lines = [f"### {table.source}: {table.about}", ""]
    for cells in grid:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(f"| {' | '.join(padded)} |")
    remarks = [note.text for note in table.notes if not note.columns]
    remarks += [f"[{i}] {text}" for i, text in enumerate(notes, start=1)]
    return "\n".join(lines + [line for remark in remarks for line in ("", remark)]) + "\n"


def as_csv(table: Table, published: Sequence[Row], ours: Sequence[Row]) -> str:
    """Return a table whose last column holds the footnotes of each row."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([table.name, *(column.name for column in table.columns), "Notes"])
    for whose, rows in (("published", published), ("ours", ours)):
        for row in rows:
            notes = dict.fromkeys(
                f"{column.name}: {note}"
                for column, cell in zip(table.columns, row, strict=True)
                for note in cell.notes
            )
            writer.writerow([whose, *(cell.text for cell in row), "; ".join(notes)])
    return file.getvalue()
