"""One picture that shows what ERec did: four pictures, and the maps behind them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxedit.config import ERecConfig

_SIDE = 256  # pixels, smallest side of a cell
_GAP = 12  # pixels between cells
# Dark to bright, evenly spaced.
_ANCHORS = (
    (10, 8, 40),
    (70, 18, 110),
    (170, 45, 95),
    (235, 105, 45),
    (250, 190, 60),
    (252, 255, 190),
)


class View(NamedTuple):
    """One edit, as numpy arrays.

    source, reconstruction, raw_edit, refined: u8[S,S,3].
    nll_rec, nll_edit: f32[g,g], nats; js: f32[g,g], bits; mask: bool[g,g], True = edited.
    """

    source: np.ndarray
    reconstruction: np.ndarray
    raw_edit: np.ndarray
    refined: np.ndarray
    nll_rec: np.ndarray
    nll_edit: np.ndarray
    js: np.ndarray
    mask: np.ndarray


def panel(view: View, config: ERecConfig, title: str = "") -> Image.Image:
    """Source, both paths and the refined edit above the maps that the mask was made from.

    Args:
      view: the arrays of one edit.
      config: its thresholds are marked on the colour scales.
      title: a line above everything, such as the instruction.

    Returns:
      RGB, four cells wide and two high; brighter colours are higher values.

    Raises:
      ValueError: a picture is not square, or its side is not a multiple of the maps' side.

    Source: ERec, figure 3.
    """
    size, grid = len(view.source), len(view.js)
    if view.source.shape != (size, size, 3) or size % grid:
        raise ValueError(
            f"pictures {list(view.source.shape)}: expected [S,S,3], S a multiple of {grid}"
        )
    factor = -(-_SIDE // size)
    pictures = {
        "source": view.source,
        "reconstruction": view.reconstruction,
        "raw edit": view.raw_edit,
        "refined edit": view.refined,
    }
    above = [_cell(name, _enlarge(picture, factor)) for name, picture in pictures.items()]
    return _tile([above, _maps(view, config, factor * size // grid)], title)


def _maps(view: View, config: ERecConfig, factor: int) -> list[Image.Image]:
    """Cells of the three maps and of the mask, `factor` pixels for each token."""
    nll = np.stack([view.nll_rec, view.nll_edit])
    top = max(1.0, nll.max(initial=0, where=np.isfinite(nll)))  # both on one scale
    maps = {
        "NLL of reconstruction (nats)": (view.nll_rec, top, config.tau_high),
        "NLL of edit (nats)": (view.nll_edit, top, config.tau_low),
        "JS (bits)": (view.js, 1.0, config.tau_js),
    }
    cells = [
        _cell(name, _enlarge(_colours(values / highest), factor), (highest, mark))
        for name, (values, highest, mark) in maps.items()
    ]
    mask = np.where(view.mask[..., None], np.uint8(255), np.uint8(0)).repeat(3, -1)
    return [*cells, _cell(f"mask: {view.mask.mean():.0%} edited", _enlarge(mask, factor))]


def _enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel as a square of `factor` pixels."""
    return picture.repeat(factor, 0).repeat(factor, 1)


def _colours(values: np.ndarray) -> np.ndarray:
    """u8[...,3] of f32[...] in [0,1]; higher values, and infinity, take the brightest colour."""
    places = np.linspace(0, 1, len(_ANCHORS))
    channels = zip(*_ANCHORS, strict=True)
    return np.stack([np.interp(values, places, c) for c in channels], -1).astype(np.uint8)


def _cell(
    caption: str, picture: np.ndarray, scale: tuple[float, float] | None = None
) -> Image.Image:
    """A picture under its caption; `scale` (highest value, marked value) adds a colour scale."""
    side = len(picture)
    line = side // 11  # height of a line of text
    bar = line // 2
    cell = Image.new("RGB", (side, line + side + (0 if scale is None else 3 * bar + 4)), "white")
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(side // 17)
    draw.text((0, 2), caption, fill="black", font=font)
    cell.paste(Image.fromarray(picture), (0, line))
    if scale is not None:
        highest, mark = scale
        y = line + side + 4
        ramp = np.tile(_colours(np.linspace(0, 1, side)), (bar, 1, 1))
        cell.paste(Image.fromarray(ramp), (0, y))
        draw.text((0, y + bar), "0", fill="black", font=font)
        draw.text((side, y + bar), f"{highest:.1f}", "black", font, "ra")
        x = mark / highest * side
        if 0 < x < side:
            draw.line((x, y - 3, x, y + bar + 2), fill="black", width=2)
            draw.text(
                (np.clip(x, line, side - 2.5 * line), y + bar), f"{mark:g}", "black", font, "ma"
            )
    return cell


def _tile(rows: Sequence[Sequence[Image.Image]], title: str) -> Image.Image:
    """Rows of cells on white, below the title."""
    side = rows[0][0].width
    head = side // 9 if title else 0
    heights = [row[0].height + _GAP for row in rows]
    width = _GAP + len(rows[0]) * (side + _GAP)
    sheet = Image.new("RGB", (width, _GAP + head + sum(heights)), "white")
    if title:
        font = ImageFont.load_default(side // 13)
        ImageDraw.Draw(sheet).text((_GAP, _GAP // 2), title, fill="black", font=font)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            corner = (_GAP + x * (side + _GAP), _GAP + head + sum(heights[:y]))
            sheet.paste(cell, corner)
    return sheet
