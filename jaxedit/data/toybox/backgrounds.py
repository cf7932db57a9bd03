"""Pictures of the backgrounds: sky, ground and a few fixed objects, in colour or as sketches."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from jaxedit.data.toybox.sprites import PAPER, SUPER

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
    background: str, size: int, *, sketch: bool = False
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Draw the empty scene; `sketch` draws outlines on paper."""
    side = size * SUPER
    canvas = Image.new("RGB", (side, side), PAPER)
    pen = ImageDraw.Draw(canvas)
    for patch in _SCENERY[background]:
        x0, y0, x1, y1 = (v * side for v in patch.box)
        draw = pen.rectangle if patch.shape == "rectangle" else pen.ellipse
        if sketch:
            draw((x0, y0, x1 - 1, y1 - 1), PAPER, outline=_LINE, width=SUPER)
        else:
            draw((x0, y0, x1 - 1, y1 - 1), patch.colour)
    picture = np.asarray(canvas.reduce(SUPER)).copy()
    picture.setflags(write=False)
    return picture
