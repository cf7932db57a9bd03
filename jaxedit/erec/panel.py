"""A panel that explains an edit by ERec: four pictures, and the maps behind the edit mask."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

from jaxedit.config import ERecConfig

_SIDES = (256, 512)  # pixels, smallest and largest side of a cell
_GAP = 12  # pixels between cells
# Colour scale from low (dark) to high (bright), evenly spaced.
_ANCHORS = (
    (10, 8, 40),
    (70, 18, 110),
    (170, 45, 95),
    (235, 105, 45),
    (250, 190, 60),
    (252, 255, 190),
)


class PanelInputs(NamedTuple):
    """The pictures and maps of an edit.

    Attributes: source, reconstruction, raw_edit, refined: RGB pictures of equal size, or u8[H,W,3].
      nll_rec, nll_edit: nats. js: bits. mask: True = edited. Maps and mask cover the square that is
      obtained by padding the pictures at
        the right or at the bottom.
    """

    source: Image.Image | np.ndarray
    reconstruction: Image.Image | np.ndarray
    raw_edit: Image.Image | np.ndarray
    refined: Image.Image | np.ndarray
    nll_rec: Float[np.ndarray, "g g"]
    nll_edit: Float[np.ndarray, "g g"]
    js: Float[np.ndarray, "g g"]
    mask: Bool[np.ndarray, "g g"]


def panel_of(source: Image.Image, result: Any) -> Image.Image:
    """Draw the panel of an `EditResult` of method editar+erec, or of varedit+erec with two passes.

    Args:
      source: the picture that was edited.
      result: the result of `Editor.edit`.

    Raises:
      ValueError: the result is of another method.
    """
    settings, found = result.settings, result.diagnostics
    if "reconstruction" not in found:
        raise ValueError(
            f"method={settings['method']!r}: expected an edit by editar+erec, or by varedit+erec "
            "with passes='two'"
        )
    names = ("nll_rec", "nll_edit", "js")
    pictures = [source, found["reconstruction"], found["raw_edit"], result.image]
    if settings["fit"] == "crop":  # the maps cover the middle square
        side = min(result.image.size)
        how = Image.Resampling.LANCZOS
        pictures = [ImageOps.fit(picture, (side, side), how) for picture in pictures]
    view = PanelInputs(*pictures, *(found[name] for name in names), result.mask)
    taus = {name: settings[name] for name in ("tau_js", "tau_low", "tau_high")}
    return panel(view, ERecConfig(**taus), settings["instruction"])


def panel(view: PanelInputs, config: ERecConfig, title: str = "") -> Image.Image:
    """Draw source, both paths and the refined edit above the maps that the mask was made from.

    Args:
      view: pictures and maps of an edit.
      config: its thresholds are marked on the colour scales.
      title: a line above all cells, such as the instruction.

    Returns:
      RGB, four cells wide and two high; brighter colours are higher values.

    Raises:
      ValueError: the pictures differ in size.

    Source: ERec, figure 3.
    """
    names = ("source", "reconstruction", "raw edit", "refined edit")
    pictures = [Image.fromarray(p) if isinstance(p, np.ndarray) else p for p in view[:4]]
    sizes = [picture.size for picture in pictures]
    if len(set(sizes)) > 1:
        raise ValueError(f"pictures of {sizes}: expected one size")
    small, large = _SIDES
    long = max(sizes[0])
    # Small pictures are enlarged by a whole factor, so that all pixels have the same size.
    side = long * -(-small // long) if long < small else min(long, large)
    above = [_cell(n, _square(p, side)) for n, p in zip(names, pictures, strict=True)]
    return _tile([above, _maps(view, config, side)], title)


def _square(picture: Image.Image, side: int) -> Image.Image:
    """Paste a picture at the top left of a white square, and resize it to `side` pixels."""
    long = max(picture.size)
    square = Image.new("RGB", (long, long), "white")
    square.paste(picture)
    is_small = long < side
    how = Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
    return square.resize((side, side), how)


def _maps(view: PanelInputs, config: ERecConfig, side: int) -> list[Image.Image]:
    """Draw the cells of the three maps and of the mask."""
    nll = np.stack([view.nll_rec, view.nll_edit])
    top = max(1.0, nll.max(initial=0, where=np.isfinite(nll)))  # both maps share a scale
    maps = {
        "NLL of reconstruction (nats)": (view.nll_rec, top, config.tau_high),
        "NLL of edit (nats)": (view.nll_edit, top, config.tau_low),
        "JS (bits)": (view.js, 1.0, config.tau_js),
    }
    cells = [
        _cell(name, _square(Image.fromarray(_colours(values / highest)), side), (highest, mark))
        for name, (values, highest, mark) in maps.items()
    ]
    mask = Image.fromarray(np.where(view.mask, np.uint8(255), np.uint8(0))).convert("RGB")
    return [*cells, _cell(f"mask: {view.mask.mean():.0%} edited", _square(mask, side))]


def _colours(values: Float[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n 3"]:
    """Map values in [0,1] to colours; values above 1, and infinity, have the brightest colour."""
    places = np.linspace(0, 1, len(_ANCHORS))
    channels = zip(*_ANCHORS, strict=True)
    return np.stack([np.interp(values, places, c) for c in channels], -1).astype(np.uint8)


def _cell(
    caption: str, picture: Image.Image, scale: tuple[float | np.floating, float] | None = None
) -> Image.Image:
    """Draw a picture below its caption; `scale` (highest, marked value) adds a colour scale."""
    side = picture.width
    line = side // 11  # height of a line of text
    bar = line // 2
    cell = Image.new("RGB", (side, line + side + (0 if scale is None else 3 * bar + 4)), "white")
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(side // 17)
    draw.text((0, 2), caption, fill="black", font=font)
    cell.paste(picture, (0, line))
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
    """Arrange rows of cells on white, below the title."""
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
