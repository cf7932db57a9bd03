"""VAREdit's figures 4 and 5, drawn with our results."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.atomic_write import atomic_write
from jaxedit.config import ConfigError, require
from jaxedit.data import json_lines
from jaxedit.evaluate.judges.rubrics import successful_edits
from jaxedit.evaluate.tables.folder import Folder
from jaxedit.evaluate.tables.published import Column, Table, read_tables
from jaxedit.evaluate.tables.rows import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_BY_TYPE = ("varedit-table3", "varedit-table4", "varedit-table5", "varedit-table6")
_SUCCESS = Column("GPT-Suc.", score="gpt_suc")
_OVER = Column("GPT-Over.", score="gpt_over")
_PANEL = (6.5, 5.0)  # inches


def draw_successful_edits(folders: Sequence[Folder]) -> "Figure":
    """Draw the number of successful edits against their mean GPT-Over, for each benchmark.

    The paper's own points are not drawn: it has them only as a picture.

    Source: VAREdit, figure 4.

    Raises:
      ConfigError: no folder has scores of a judge, or the scores of its edits are damaged.
      OSError: the scores of the edits cannot be read.
    """
    judged = [folder for folder in folders if not isinstance(folder.find(_SUCCESS), str)]
    require(len(judged) > 0, "varedit-figure4: expected results with the scores of a judge")
    names = list(dict.fromkeys(folder.evaluated for folder in judged))
    figure = new_figure(len(names))
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place, title=name)
        axes.set(xlabel="successful edits (GPT-Suc. of 9 or more)", ylabel="their mean GPT-Over.")
        for folder in judged:
            if folder.evaluated == name:
                count, over = successful_edits(_judgements(folder))
                text = f"{label([folder])}: {count} edits, {over:.3f}"
                axes.scatter([count], [over], label=text)
        axes.set(xlim=(0, 1.05 * max(1.0, axes.dataLim.xmax)), ylim=(0, 10.5))
        axes.legend(fontsize="small", loc="lower left")
    return figure


def draw_types(folders: Sequence[Folder]) -> "Figure":
    """Draw GPT-Suc and GPT-Bal of each type, published and ours, as radar charts.

    Source: VAREdit, figure 5.

    Raises:
      ConfigError: no folder has scores of a judge for a benchmark of the paper.
    """
    tables = read_tables()
    panels = [(tables[name], _values_by_type(tables[name], folders)) for name in _BY_TYPE]
    panels = [(table, ours) for table, ours in panels if ours]
    expected = "expected results of emu-edit or pie-bench with the scores of a judge"
    require(len(panels) > 0, f"varedit-figure5: {expected}")
    figure = new_figure(len(panels))
    for place, (table, ours) in enumerate(panels, start=1):
        titles = [column.name for column in table.columns if column.type]
        published = {str(row[0]): row[-len(titles) :] for row in table.rows}
        angles = [2 * math.pi * i / len(titles) for i in range(len(titles))]
        axes = figure.add_subplot(1, len(panels), place, projection="polar")
        axes.set_title(table.about)
        axes.set_xticks(angles, titles)
        axes.set_ylim(0, 10)
        axes.set_rlabel_position(180 / len(titles))  # degrees: between the first two types
        for lines, width, opacity in ((published, 1.2, 0.6), (ours, 2.5, 1.0)):
            for i, (name, values) in enumerate(lines.items()):
                style = {"color": f"C{i}", "linewidth": width, "alpha": opacity}
                axes.plot([*angles, 0.0], [*values, values[0]], label=name, **style)
        axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return figure


def new_figure(
    columns: int, rows: int = 1, panel: tuple[float, float] = _PANEL, **options: Any
) -> "Figure":
    """Return an empty figure for a grid of panels, whose width and height are in inches.

    Raises:
      ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("figures need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(panel[0] * columns, panel[1] * rows), **options)


def save(figure: "Figure", path: pathlib.Path) -> None:
    """Write a figure in the format of the path's suffix.

    Raises:
      OSError: it cannot be written.
    """
    with atomic_write(path) as part:
        figure.savefig(part, format=path.suffix[1:], bbox_inches="tight", dpi=150)


def _judgements(folder: Folder) -> list[dict[str, float]]:
    """Return the judge's scores of each edit in the summary."""
    path = folder.path / "per_sample.jsonl"
    names = {column.score: folder.score_for(column) for column in (_SUCCESS, _OVER)}
    try:
        edits = [line.values["scores"] for line in json_lines.read(path)]
        return [
            {name: float(scores[ours]) for name, ours in names.items()}
            for scores in edits
            if all(ours in scores for ours in names.values())
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: damaged: expected the scores of each edit") from error


def _values_by_type(table: Table, folders: Sequence[Folder]) -> Mapping[str, list[float]]:
    """Return our value of each type, by the name of the row; NaN for types without edits."""
    found = {}
    for folder in folders:
        if folder.benchmark in table.benchmarks:
            means = [folder.find(column) for column in table.columns if column.type]
            values = [math.nan if isinstance(mean, str) else mean.value for mean in means]
            if not all(map(math.isnan, values)):
                found[label([folder])] = values
    return found
