"""One picture that shows what ERec did: four pictures, and the maps behind them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxedit.config import ERecConfig

_SIDE = 256  # pixels, smallest side of a cell
_GAP, _CAPTION, _BAR = 12, 24, 12  # pixels: between cells, above each, height of a colour scale
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
    top = max([1.0, *(m[np.isfinite(m)].max(initial=0) for m in (view.nll_rec, view.nll_edit))])
    pictures = [
        ("source", view.source),
        ("reconstruction", view.reconstruction),
        ("raw edit", view.raw_edit),
        ("refined edit", view.refined),
    ]
    cells = [_cell(name, _enlarge(picture)) for name, picture in pictures]
    side = len(_enlarge(view.source))
    for name, values, highest, mark in (
        ("NLL of reconstruction (nats)", view.nll_rec, top, config.tau_high),
        ("NLL of edit (nats)", view.nll_edit, top, config.tau_low),
        ("JS (bits)", view.js, 1.0, config.tau_js),
    ):
        colours = _colours(values / highest).repeat(side // grid, 0).repeat(side // grid, 1)
        cells.append(_cell(name, colours, (highest, mark)))
    white = np.where(view.mask[..., None], np.uint8(255), np.uint8(0)).repeat(3, -1)
    white = white.repeat(side // grid, 0).repeat(side // grid, 1)
    cells.append(_cell(f"mask: {view.mask.mean():.0%} edited", white))
    return _tile(cells, title)


def _enlarge(picture: np.ndarray) -> np.ndarray:
    """Whole copies of each pixel until the side is at least _SIDE."""
    factor = max(1, -(-_SIDE // len(picture)))
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
    cell = Image.new("RGB", (side, _CAPTION + side + _BAR + _CAPTION), "white")
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(14)
    draw.text((0, 2), caption, fill="black", font=font)
    cell.paste(Image.fromarray(picture), (0, _CAPTION))
    if scale is not None:
        highest, mark = scale
        y = _CAPTION + side + 4
        ramp = np.tile(_colours(np.linspace(0, 1, side)), (_BAR, 1, 1))
        cell.paste(Image.fromarray(ramp), (0, y))
        draw.text((0, y + _BAR), "0", fill="black", font=font)
        draw.text(
            (side, y + _BAR),
            f"{highest:g}" if highest == 1 else f"{highest:.1f}",
            "black",
            font,
            "ra",
        )
        x = mark / highest * side
        if 0 < x < side:
            draw.line((x, y - 3, x, y + _BAR + 2), fill="black", width=2)
            draw.text((min(max(x, 24), side - 48), y + _BAR), f"{mark:g}", "black", font, "ma")
    return cell


def _tile(cells: Sequence[Image.Image], title: str) -> Image.Image:
    """Four cells a row on white, below the title."""
    w, h = cells[0].width + _GAP, cells[0].height + _GAP
    head = 2 * _GAP + 8 if title else _GAP
    rows = -(-len(cells) // 4)
    sheet = Image.new("RGB", (_GAP + 4 * w, head + rows * h), "white")
    if title:
        ImageDraw.Draw(sheet).text((_GAP, 6), title, fill="black", font=ImageFont.load_default(18))
    for i, cell in enumerate(cells):
        sheet.paste(cell, (_GAP + i % 4 * w, head + i // 4 * h))
    return sheet
