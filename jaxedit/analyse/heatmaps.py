"""Heatmaps of attention scores, a panel for each layer."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from jaxedit.evaluate.tables.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3  # panels side by side
CELL, LABELS = 0.35, 0.4  # inches


def draw_heatmaps(
    panels: Mapping[str, Float64[np.ndarray, "K G"]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> "Figure":
    """Draw heatmaps by name, all in the same colours from 0 to 1.

    A line divides the scales of the source from those of the target.

    Args:
      panels: scores from each of `rows` to each of `columns`.
      rows: names of the target's scales.
      columns: names of the source's scales, then of the target's.
      title: above all panels.

    Raises:
      ConfigError: matplotlib is not installed.
    """
    grid = math.ceil(len(panels) / COLUMNS), min(COLUMNS, len(panels))
    panel = LABELS + CELL * len(columns), LABELS + CELL * len(rows)
    figure = new_figure(grid[1], grid[0], panel, layout="constrained")
    axes = figure.subplots(*grid, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for i, (ax, (name, scores)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        drawn = ax.imshow(scores, vmin=0, vmax=1)
        ax.axvline(len(columns) - len(rows) - 0.5, color="white")
        ax.set_title(name, fontsize="small")
        is_left, is_lowest = i % grid[1] == 0, i + grid[1] >= len(panels)
        ax.set_yticks(range(len(rows)), rows if is_left else [], fontsize="x-small")
        ax.set_xticks(
            range(len(columns)), columns if is_lowest else [], fontsize="x-small", rotation=90
        )
    figure.suptitle(title, fontsize="medium")
    figure.colorbar(drawn, ax=axes, label="share of the attention", aspect=30)
    return figure
