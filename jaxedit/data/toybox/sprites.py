"""Pictures of single toys, drawn at four times the size with PIL, averaged down, and cached."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter

from jaxedit.data.toybox.scene import CELL, SIZES, Toy

SUPER = 4  # supersampling factor
OUTLINE = (24, 20, 32)
PAPER = (250, 250, 248)

_PALETTE = {  # colour -> (main, second); of different brightness, for black and white pictures
    "red": ((236, 56, 44), (255, 196, 190)),
    "yellow": ((255, 214, 40), (150, 96, 0)),
    "blue": ((16, 58, 202), (170, 204, 255)),
    "white": ((246, 246, 246), (122, 122, 128)),
    "green": ((58, 180, 80), (188, 238, 180)),
    "orange": ((250, 136, 20), (124, 50, 0)),
    "purple": ((124, 44, 172), (214, 174, 240)),
    "pink": ((250, 140, 196), (150, 30, 96)),
    "sketch": (PAPER, (186, 186, 186)),
}
_ACCENT = {"roof": (122, 46, 34), "wood": (124, 78, 44)}

Points = list[tuple[float, float]]


class SpritePart(NamedTuple):
    """An outlined area of a toy: a polygon in units of the toy's size, and its fill."""

    points: Points
    fill: str = "body"  # body: the toy's colour and texture; else a key of _ACCENT


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return list(zip(x + rx * np.cos(t), y + ry * np.sin(t), strict=True))


def _star() -> Points:
    t = -np.pi / 2 + np.arange(10) * np.pi / 5
    r = np.where(np.arange(10) % 2, 0.27, 0.53)
    return list(zip(0.5 + r * np.cos(t), 0.54 + r * np.sin(t), strict=True))


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return list(zip(0.5 + x / 32, 0.46 - y / 29.5, strict=True))


_PARTS: dict[str, Callable[[], list[SpritePart]]] = {
    "ball": lambda: [SpritePart(_ellipse(0.5, 0.5, 0.5, 0.5))],
    "box": lambda: [SpritePart([(0.03, 0.03), (0.97, 0.03), (0.97, 0.97), (0.03, 0.97)])],
    "tent": lambda: [SpritePart([(0.5, 0.0), (1.0, 0.97), (0.0, 0.97)])],
    "star": lambda: [SpritePart(_star())],
    "heart": lambda: [SpritePart(_heart())],
    "tree": lambda: [
        SpritePart([(0.38, 0.7), (0.62, 0.7), (0.62, 1.0), (0.38, 1.0)], "wood"),
        SpritePart(
            [(0.5, 0.0), (0.82, 0.34), (0.7, 0.34), (1.0, 0.76)]
            + [(0.0, 0.76), (0.3, 0.34), (0.18, 0.34)]
        ),
    ],
    "house": lambda: [
        SpritePart([(0.1, 0.34), (0.9, 0.34), (0.9, 1.0), (0.1, 1.0)]),
        SpritePart([(0.5, 0.0), (1.0, 0.42), (0.0, 0.42)], "roof"),
    ],
    "fish": lambda: [
        SpritePart([(0.68, 0.55), (1.0, 0.24), (1.0, 0.88)]),
        SpritePart([(0.22, 0.36), (0.42, 0.04), (0.66, 0.36)]),
        SpritePart(_ellipse(0.4, 0.56, 0.4, 0.33)),
    ],
}
_FACE_AT = {  # kind -> x, y of the middle of the face and its width, in units of the size
    "ball": (0.5, 0.5, 0.62),
    "box": (0.5, 0.5, 0.66),
    "tent": (0.5, 0.68, 0.5),
    "star": (0.5, 0.55, 0.46),
    "heart": (0.5, 0.42, 0.6),
    "tree": (0.5, 0.54, 0.46),
    "house": (0.5, 0.7, 0.56),
    "fish": (0.36, 0.56, 0.5),
}


@functools.lru_cache(maxsize=16384)
def sprite(toy: Toy) -> tuple[Float32[np.ndarray, "32 32 3"], Float32[np.ndarray, "32 32 1"]]:
    """Draw a toy in the middle of a slot; `toy.colour` may be "sketch".

    Returns:
      The colour in [0,255], already multiplied by alpha; and alpha in [0,1].
    """
    if toy.pose != "upright":
        upright = sprite(toy._replace(pose="upright"))
        return tuple(np.ascontiguousarray(_POSES[toy.pose](layer)) for layer in upright)
    size = SIZES[toy.size] * SUPER
    canvas, alpha = Image.new("RGB", (size, size)), Image.new("L", (size, size))
    for part in _PARTS[toy.kind]():
        _paint(canvas, alpha, part, toy)
    if toy.face != "none":
        _face(canvas, toy, size)
    rgba = _average(np.dstack([np.asarray(canvas), np.asarray(alpha)]).astype(np.float32))
    border = (CELL - len(rgba)) // 2
    cell = np.pad(rgba, ((border, border), (border, border), (0, 0)))
    return np.ascontiguousarray(cell[..., :3]), np.ascontiguousarray(cell[..., 3:])


_POSES = {"upside down": np.flipud, "lying down": np.rot90}


def _average(rgba: Float32[np.ndarray, "N N 4"]) -> Float32[np.ndarray, "n n 4"]:
    """Average blocks of `SUPER` x `SUPER` pixels; the result's colour is multiplied by alpha."""
    alpha = rgba[..., 3:] / 255
    rgba = np.concatenate([rgba[..., :3] * alpha, alpha], -1)
    n = len(rgba) // SUPER
    return rgba.reshape(n, SUPER, n, SUPER, 4).mean((1, 3))


def _paint(canvas: Image.Image, alpha: Image.Image, part: SpritePart, toy: Toy) -> None:
    """Draw a part with an outline of one pixel, which lies inside the polygon."""
    mask = Image.new("L", canvas.size)
    ImageDraw.Draw(mask).polygon([(x * mask.width, y * mask.height) for x, y in part.points], 255)
    # A white frame lets the polygon's border erode at the edge of the canvas as well.
    framed = Image.new("L", (mask.width + 2 * SUPER, mask.height + 2 * SUPER))
    framed.paste(mask, (SUPER, SUPER))
    inner = framed.filter(ImageFilter.MinFilter(2 * SUPER + 1))
    inner = inner.crop((SUPER, SUPER, SUPER + mask.width, SUPER + mask.height))
    canvas.paste(OUTLINE, mask=mask)
    alpha.paste(255, mask=mask)
    main, second = _PALETTE[toy.colour]
    if part.fill != "body":
        canvas.paste(second if toy.colour == "sketch" else _ACCENT[part.fill], mask=inner)
        return
    canvas.paste(main, mask=inner)
    pattern = Image.fromarray(_pattern(toy.texture, SIZES[toy.size]) & np.asarray(inner))
    canvas.paste(second, mask=pattern)


def _pattern(texture: str, size: int) -> UInt8[np.ndarray, "N N"]:
    """Return where the second colour is painted (255, else 0); a period is 8 or 6 pixels."""
    period = (8 if size > 20 else 6) * SUPER
    at = np.arange(size * SUPER) - size * SUPER // 2 + 0.5
    y, x = np.meshgrid(at, at, indexing="ij")
    if texture == "striped":
        on = (y + period / 4) % period >= period / 2
    elif texture == "checkered":
        square = period * 0.75
        on = (x // square + y // square) % 2 == 0
    elif texture == "dotted":
        dx, dy = (x + period / 2) % period - period / 2, (y + period / 2) % period - period / 2
        on = np.hypot(dx, dy) < 0.3 * period
    else:
        on = np.zeros(y.shape, bool)
    return on.astype(np.uint8) * 255


def _face(canvas: Image.Image, toy: Toy, size: int) -> None:
    """Draw two white eyes with pupils above a thick mouth."""
    pen = ImageDraw.Draw(canvas)
    x, y, width = (v * size for v in _FACE_AT[toy.kind])
    eye, pupil = 0.19 * width, 0.11 * width
    for side in (-1, 1):
        cx, cy = x + side * 0.27 * width, y - 0.2 * width
        pen.ellipse((cx - eye, cy - eye, cx + eye, cy + eye), (255, 255, 255))
        pen.ellipse((cx - pupil, cy - pupil, cx + pupil, cy + pupil), OUTLINE)
    half, tall = 0.38 * width, 0.34 * width
    top = y + (0.02 if toy.face == "sad" else 0.0) * width
    if toy.face == "smiling":
        pen.pieslice((x - half, top - tall, x + half, top + 1.3 * tall), 10, 170, OUTLINE)
    else:
        pen.pieslice((x - half, top + 0.2 * tall, x + half, top + 2.4 * tall), 190, 350, OUTLINE)
