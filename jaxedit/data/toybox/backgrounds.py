"""Pictures of the backgrounds: sky, ground and a few fixed objects, in colour or as sketches.

Sky and ground may have textures; the fixed objects have none.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, UInt8
from PIL import Image, ImageDraw

from jaxedit.data.toybox.drift import Drift
from jaxedit.data.toybox.sprites import PAPER, SUPER
from jaxedit.data.toybox.textures import window

HORIZON = 0.625  # where the ground begins, as a share of the height
_LINE = (96, 96, 104)

Colour = tuple[int, int, int]


class Patch(NamedTuple):
    """A filled rectangle or ellipse in units of the picture's side; parts outside are cut off."""

    shape: str
    box: tuple[float, float, float, float]
    colour: Colour


def _disc(x: float, y: float, radius: float, colour: Colour) -> Patch:
    return Patch("ellipse", (x - radius, y - radius, x + radius, y + radius), colour)


def _land(sky: Colour, ground: Colour) -> list[Patch]:
    return [
        Patch("rectangle", (-1, -1, 2, 2), sky),
        Patch("rectangle", (-1, HORIZON, 2, 2), ground),
    ]


_SUN = _disc(0.5, 0.13, 0.085, (255, 236, 110))
_SPECKS = (  # stars and snowflakes, between the slots, so that no toy covers them
    (0.02, 0.1), (0.98, 0.18), (0.02, 0.34), (0.98, 0.42), (0.5, 0.3), (0.49, 0.42),
    (0.16, 0.02), (0.33, 0.03), (0.68, 0.02), (0.86, 0.03), (0.22, 0.5), (0.74, 0.49),
)  # fmt: skip
_TEXTURES = {  # background -> (of its sky or wall, of its ground or floor)
    "meadow": ("clouds", "grass"),
    "night": ("noise", "grass"),
    "room": ("paper", "wood"),
}
_EDGE = 6  # pixels over which a redrawn disc fades out
_SCENERY = {
    "meadow": [*_land((140, 202, 248), (116, 190, 84)), _SUN],
    "night": [
        *_land((20, 22, 66), (34, 66, 56)),
        _disc(0.5, 0.13, 0.085, (240, 236, 205)),
        *(_disc(x, y, 0.014, (250, 250, 220)) for x, y in _SPECKS),
    ],
    "beach": [
        *_land((150, 220, 240), (240, 216, 158)),
        Patch("rectangle", (-1, 0.47, 2, HORIZON), (36, 134, 190)),
        _SUN,
    ],
    "room": [
        *_land((236, 220, 200), (158, 108, 70)),
        Patch("rectangle", (0.405, 0.03, 0.595, 0.25), (110, 80, 60)),
        Patch("rectangle", (0.4375, 0.0625, 0.5625, 0.21875), (160, 212, 240)),
    ],
    "snow": [
        *_land((178, 194, 216), (242, 246, 250)),
        *(_disc(x, y, 0.02, (255, 255, 255)) for x, y in _SPECKS),
    ],
    "desert": [
        *_land((252, 204, 148), (220, 154, 84)),
        _disc(0.5, 0.13, 0.085, (255, 244, 190)),
        Patch("rectangle", (-1, 0.82, 2, 2), (202, 134, 68)),
    ],
}


@functools.lru_cache(maxsize=64)
def backdrop(
    background: str, size: int, *, sketch: bool = False, margin: tuple[int, int] = (0, 0)
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the empty scene in even colours; `sketch` draws outlines on paper.

    Args:
      margin: rows and columns added on both sides of the square scene.
    """
    down, right = margin
    shape = ((size + 2 * right) * SUPER, (size + 2 * down) * SUPER)
    canvas = Image.new("RGB", shape, PAPER)
    pen = ImageDraw.Draw(canvas)
    for patch in _SCENERY[background]:
        x0, y0, x1, y1 = (
            (v * size + start) * SUPER
            for v, start in zip(patch.box, (right, down) * 2, strict=True)
        )
        draw = pen.rectangle if patch.shape == "rectangle" else pen.ellipse
        if sketch:
            draw((x0, y0, x1 - 1, y1 - 1), PAPER, outline=_LINE, width=SUPER)
        else:
            draw((x0, y0, x1 - 1, y1 - 1), patch.colour)
    picture = np.asarray(canvas.reduce(SUPER)).copy()
    picture.setflags(write=False)
    return picture


@functools.lru_cache(maxsize=16)  # source and target of a pair share it
def textured_backdrop(
    background: str,
    size: int,
    seed: int,
    *,
    margin: tuple[int, int] = (0, 0),
    drift: Drift | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the empty scene with the textures of a seed, changed by `drift`; see `backdrop`."""
    texture = _textures(background, size, seed, margin, drift.shift if drift else (0, 0))
    if drift and drift.texture_seed is not None:
        other = _textures(background, size, drift.texture_seed, margin)
        weight = _weight(drift.disc, size, margin)
        texture = (texture + weight * (other - texture)).astype(np.int16)
    if drift and any(drift.colour):
        texture += np.array(drift.colour, np.int16)[None, None]
    flat, land = _land_of(background, size, margin)
    texture *= land
    texture += flat
    picture = np.clip(texture, 0, 255, out=texture).astype(np.uint8)
    picture.setflags(write=False)
    return picture


def _textures(
    background: str,
    size: int,
    seed: int,
    margin: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
) -> Int16[np.ndarray, "H W 3"]:
    """Return the grey levels that textures add to sky (above the horizon) and ground."""
    down, right = margin
    horizon, width = int(HORIZON * size), size + 2 * right
    sky, ground = _TEXTURES[background]
    left = shift[1] - right
    above = window(sky, seed, top=shift[0] - down, left=left, height=horizon + down, width=width)
    below = window(
        ground, seed, top=shift[0] + horizon, left=left, height=size + down - horizon, width=width
    )
    return np.concatenate([above, below])


@functools.lru_cache(maxsize=64)
def _land_of(
    background: str, size: int, margin: tuple[int, int]
) -> tuple[Int16[np.ndarray, "H W 3"], Int16[np.ndarray, "H W 3"]]:
    """Return the empty scene, and 1 where no fixed object hides sky and ground, else 0."""
    flat = backdrop(background, size, margin=margin)
    colours = [patch.colour for patch in _SCENERY[background][:2]]
    land = np.any([(flat == colour).all(-1, keepdims=True) for colour in colours], axis=0)
    return flat.astype(np.int16), np.repeat(land, 3, axis=-1).astype(np.int16)


def _weight(
    disc: tuple[float, float, float] | None, size: int, margin: tuple[int, int]
) -> Float32[np.ndarray, "#H #W 1"]:
    """Return 1 inside a disc and 0 outside, with a soft edge; 1 without a disc."""
    if disc is None:
        return np.ones((1, 1, 1), np.float32)
    y, x, radius = (v * size for v in disc)
    rows, columns = (np.arange(-m, size + m, dtype=np.float32) for m in margin)
    distance = np.hypot((rows - y)[:, None], (columns - x)[None, :])
    return np.clip((radius - distance) / _EDGE, 0, 1)[..., None]
