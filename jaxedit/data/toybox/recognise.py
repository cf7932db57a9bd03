"""Recognition of a picture's scene by analysis and synthesis: the nearest scene that can be drawn.

Background and style are recognised first, by the nearest strips between the slots, which no toy
covers. Each slot then has the toy whose picture is nearest. With e = paint - cover * background for
a toy and d = image - background for a slot, the squared distance is |d|^2 - 2 <d, e> + |e|^2: a
single matrix product for all toys and all slots.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from jaxedit.data.toybox.backgrounds import backdrop
from jaxedit.data.toybox.render import LUMA, TONES, cell_of, render, silhouette
from jaxedit.data.toybox.scene import CELL, LEVELS, Rules, Scene, Toy
from jaxedit.data.toybox.sprites import sprite

MAX_COLOUR_ERROR = 40.0  # largest error of a toy's mean colour, of 255, for a known colour
_RIM = 3  # pixels of a slot's border that no toy covers


def recognise(image: UInt8[np.ndarray, "H W 3"], level: int) -> Scene:
    """Return the scene whose picture is nearest to `image`.

    In sketches all toys have the colour "sketch". A toy has the colour "unknown" if its mean colour
    is far from the mean colour in the nearest picture.
    """
    background, style = _surroundings(image, level)
    plain = 255 - image if style == "negative" else image
    scene = Scene(background, _toys(plain.astype(np.float32), level, background, style), style)
    difference = image.astype(np.float32) - render(scene)
    for slot, toy in scene.filled:
        inside = cell_of(difference, slot, scene.grid)[silhouette(toy)]
        if np.abs(inside.mean(0)).max() > MAX_COLOUR_ERROR:
            scene = scene.put(slot, toy._replace(colour="unknown"))
    return scene


def all_toys(level: int, *, is_sketch: bool = False) -> tuple[Toy, ...]:
    """Return every toy that a level can draw; sketches do not distinguish colours."""
    rules = Rules(LEVELS[level], frozenset())
    return tuple(
        Toy(kind, colour, texture, face, pose, size)
        for kind, size in itertools.product(rules.level.kinds, rules.level.sizes)
        for colour, texture, face, pose in itertools.product(
            ("sketch",) if is_sketch else rules.level.colours,
            rules.level.textures,
            rules.faces(size),
            rules.poses(kind),
        )
    )


class _Library(NamedTuple):
    """The empty slot and every toy: the colours, multiplied by alpha, and the alpha of a slot."""

    toys: tuple[Toy | None, ...]
    paint: Float32[np.ndarray, "N 3072"]
    cover: Float32[np.ndarray, "N 1024"]


@functools.cache
def _library(level: int, is_sketch: bool) -> _Library:
    toys = all_toys(level, is_sketch=is_sketch)
    paint = np.zeros((1 + len(toys), CELL * CELL * 3), np.float32)
    cover = np.zeros((1 + len(toys), CELL * CELL), np.float32)
    for i, toy in enumerate(toys, start=1):
        colour, alpha = sprite(toy)
        paint[i], cover[i] = colour.ravel(), alpha.ravel()
    return _Library((None, *toys), paint, cover)


@functools.cache
def _rims(
    level: int,
) -> tuple[list[tuple[str, str]], Float32[np.ndarray, "N R 3"], Bool[np.ndarray, "H W"]]:
    """Return (background, style) and the rim pixels of all empty pictures, and the rim's mask."""
    side = LEVELS[level].image_size
    at = np.arange(side) % CELL
    edge = (at < _RIM) | (at >= CELL - _RIM)
    where = edge[:, None] | edge[None, :]
    names = list(itertools.product(LEVELS[level].backgrounds, LEVELS[level].styles))
    empty = (None,) * LEVELS[level].grid ** 2
    pixels = [render(Scene(background, empty, style))[where] for background, style in names]
    return names, np.stack(pixels).astype(np.float32), where


def _surroundings(image: np.ndarray, level: int) -> tuple[str, str]:
    names, pixels, where = _rims(level)
    distance = np.square(pixels - image[where][None]).sum((1, 2))
    return names[int(distance.argmin())]


def _slots(picture: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "S 1024 C"]:
    """Return the pixels of each slot."""
    grid = len(picture) // CELL
    cells = [cell_of(picture, slot, grid).reshape(CELL * CELL, -1) for slot in range(grid**2)]
    return np.stack(cells)


def _toys(image: np.ndarray, level: int, background: str, style: str) -> tuple[Toy | None, ...]:
    library = _library(level, style == "sketch")
    behind = _behind(level, background, style)
    if style in TONES:
        tone = TONES[style]
        d = _slots((image @ (tone / (tone @ tone)))[..., None]) - behind  # [S,1024,1]
        spread = d * LUMA[None, None]
    else:
        d = spread = _slots(image) - behind  # [S,1024,3]
    product = library.paint @ spread.reshape(len(d), -1).T - library.cover @ (d * behind).sum(-1).T
    score = _norms(level, background, style) - 2 * product  # [N,S]
    return tuple(library.toys[i] for i in score.argmin(0))


@functools.cache
def _behind(level: int, background: str, style: str) -> Float32[np.ndarray, "S 1024 C"]:
    """Return the background of each slot; of grey styles its brightness, with C = 1."""
    picture = backdrop(background, LEVELS[level].image_size, sketch=style == "sketch")
    picture = picture.astype(np.float32)
    return _slots((picture @ LUMA)[..., None] if style in TONES else picture)


@functools.cache
def _norms(level: int, background: str, style: str) -> Float32[np.ndarray, "N S"]:
    """Return |e|^2 of every toy in every slot, from its three terms."""
    library = _library(level, style == "sketch")
    behind = _behind(level, background, style)  # [S,1024,C]
    paint = library.paint.reshape(len(library.toys), -1, 3)  # [N,1024,3]
    paint = (paint @ LUMA)[..., None] if style in TONES else paint  # [N,1024,C]
    own = np.square(paint).sum((1, 2))[:, None]
    mixed = (paint * library.cover[..., None]).reshape(len(paint), -1)
    mixed = mixed @ behind.reshape(len(behind), -1).T
    return own - 2 * mixed + np.square(library.cover) @ np.square(behind).sum(-1).T
