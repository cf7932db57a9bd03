"""Line plots of the page of ERec's tables."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure


class Plot(NamedTuple):
    """One line per series over evenly spaced, named ticks.

    Attributes:
      title: above the axes; says what is drawn upwards.
      x_label: below them.
      ticks: names of the n places.
      series: name -> n values; nan is left out.
    """

    title: str
    x_label: str
    ticks: Sequence[str]
    series: Mapping[str, Sequence[float]]


def save(path: pathlib.Path, plots: Sequence[Plot], columns: int) -> None:
    """Draw plots row by row into a PNG file."""
    rows = -(-len(plots) // columns)
    figure = Figure(figsize=(3.8 * columns, 2.8 * rows), layout="constrained")
    for axes, plot in zip(figure.subplots(rows, columns).flat, plots, strict=True):
        for name, values in plot.series.items():
            axes.plot(plot.ticks, values, marker="o", markersize=4, label=name)
        axes.set(title=plot.title, xlabel=plot.x_label)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.margins(y=0.2)
        axes.grid(axis="y", alpha=0.4)
        axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=100)
