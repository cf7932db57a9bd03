"""Line plots drawn with Pillow: as much as the page of ERec's tables needs."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_W, _H = 380, 280  # pixels, one plot
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 44, 46  # margins around the axes
_COLOURS = ((30, 90, 170), (205, 80, 30), (60, 140, 70), (130, 80, 150))


def tile(plots: Sequence[Image.Image], columns: int) -> Image.Image:
    """Plots row by row."""
    sheet = Image.new("RGB", (_W * columns, _H * -(-len(plots) // columns)), "white")
    for i, picture in enumerate(plots):
        sheet.paste(picture, (i % columns * _W, i // columns * _H))
    return sheet


def plot(
    title: str, x_label: str, ticks: Sequence[str], series: Mapping[str, Sequence[float]]
) -> Image.Image:
    """One line per series over evenly spaced, named ticks.

    Args:
      title: above the axes; says what is drawn upwards.
      x_label: below them.
      ticks: names of the n places.
      series: name -> n values; nan is left out.
    """
    picture = Image.new("RGB", (_W, _H), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    values = np.array(list(series.values()), float)
    low, high, step = _range(values[np.isfinite(values)])
    right, bottom = _W - _RIGHT, _H - _BOTTOM

    def place(i: float, value: float) -> tuple[float, float]:
        x = _LEFT + (i + 0.5) * (right - _LEFT) / len(ticks)
        return x, bottom - (value - low) / (high - low) * (bottom - _TOP)

    for value in np.arange(low, high + step / 2, step):
        y = place(0, value)[1]
        draw.line((_LEFT, y, right, y), fill=(225, 225, 225))
        draw.text((_LEFT - 6, y), f"{value:g}", "black", font, "rm")
    for i, tick in enumerate(ticks):
        draw.text((place(i, low)[0], bottom + 6), tick, "black", font, "ma")
    draw.rectangle((_LEFT, _TOP, right, bottom), outline="black")
    draw.text((_W / 2, 4), title, "black", ImageFont.load_default(15), "ma")
    draw.text((_W / 2, _H - 6), x_label, "black", font, "md")
    at = _LEFT
    for (name, line), colour in zip(series.items(), _COLOURS, strict=False):
        points = [place(i, v) for i, v in enumerate(line) if np.isfinite(v)]
        draw.line(points, fill=colour, width=2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        draw.line((at, 32, at + 18, 32), fill=colour, width=3)
        draw.text((at + 24, 32), name, "black", font, "lm")
        at += 40 + draw.textlength(name, font)
    return picture


def _range(values: np.ndarray) -> tuple[float, float, float]:
    """Lowest and highest mark of an axis that holds all values, and the distance of the marks."""
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    width = max(high - low, abs(high) / 50, 0.01)
    unit = 10.0 ** np.floor(np.log10(width / 4))
    step = next(unit * m for m in (1, 2, 5, 10) if width / (unit * m) <= 5)
    return np.floor(low / step) * step, np.ceil(high / step) * step + step * (high == low), step
