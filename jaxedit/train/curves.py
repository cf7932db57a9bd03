"""The curves of a run: its reports, drawn over the steps."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 4.5, 3.2  # inches
# Title and metrics of each plot; one without a reported metric is left out.
PLOTS: Mapping[str, Sequence[str]] = {
    "loss": ("loss", "val/loss"),
    "accuracy": ("accuracy", "val/accuracy"),
    "PSNR, dB": ("psnr", "val/psnr", "val/psnr_background"),
    "success of held-out edits": ("val/success",),
    "learning rate": ("lr",),
}


def draw_curves(reports: str) -> "Figure":
    """Draw the text of a metrics.jsonl.

    Raises:
      ConfigError: matplotlib is not installed.
    """
    from jaxedit.evaluate.tables.figures import new_figure

    rows = [json.loads(line) for line in reports.splitlines()]
    found = {title: _series(rows, names) for title, names in PLOTS.items()}
    found = {title: series for title, series in found.items() if series}
    figure = new_figure(len(found), 1, PANEL, layout="constrained")
    axes_of_plots = figure.subplots(1, len(found), squeeze=False).flat
    for axes, (title, series) in zip(axes_of_plots, found.items(), strict=True):
        for name, (steps, values) in series.items():
            is_rare = name.startswith("val/")
            axes.plot(steps, values, label=name, marker="o" if is_rare else None, markersize=3)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", frameon=False)
    return figure


def _series(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, tuple[list[int], list[float]]]:
    """Return steps and values of each metric that was reported."""
    points = {name: [(row["step"], row[name]) for row in rows if name in row] for name in names}
    return {name: tuple(map(list, zip(*p, strict=True))) for name, p in points.items() if p}
