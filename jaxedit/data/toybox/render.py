"""Pictures of scenes, and the exact mask of an edit."""

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from jaxedit.data.toybox.backgrounds import backdrop
from jaxedit.data.toybox.scene import CELL, Scene, Toy
from jaxedit.data.toybox.sprites import sprite

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TONES = {  # grey styles: the colour of the brightest grey, as a share of white
    "black and white": np.ones(3, np.float32),
    "sepia": np.array([1.0, 0.86, 0.66], np.float32),
}


def cell_of(
    picture: Shaped[np.ndarray, "H W *C"], slot: int, grid: int
) -> Shaped[np.ndarray, "32 32 *C"]:
    """Return a view of the pixels of a slot."""
    y, x = CELL * (slot // grid), CELL * (slot % grid)
    return picture[y : y + CELL, x : x + CELL]


def render(scene: Scene) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the picture of a scene."""
    is_sketch = scene.style == "sketch"
    picture = backdrop(scene.background, scene.grid * CELL, sketch=is_sketch).copy()
    for slot, toy in scene.filled:
        colour, alpha = sprite(toy._replace(colour="sketch") if is_sketch else toy)
        cell = cell_of(picture, slot, scene.grid)
        cell[:] = colour + (1 - alpha) * cell + 0.5
    return restyle(picture, scene.style)


def restyle(picture: UInt8[np.ndarray, "H W 3"], style: str) -> UInt8[np.ndarray, "H W 3"]:
    """Convert a picture to negative, sepia or black and white; other styles do not change it."""
    if style == "negative":
        return 255 - picture
    if style in TONES:
        return ((picture @ LUMA)[..., None] * TONES[style][None, None] + 0.5).astype(np.uint8)
    return picture


def silhouette(toy: Toy) -> Bool[np.ndarray, "32 32"]:
    """Return where a toy covers its slot, even partly."""
    return sprite(toy)[1][..., 0] > 0


def edit_mask(source: Scene, target: Scene) -> Bool[np.ndarray, "H W"]:
    """Return the pixels that may differ between the pictures of two scenes.

    For local edits they are the union of the silhouettes before and after; for another background,
    everything except the inside of the kept toys; for another style, everything.
    """
    side = source.grid * CELL
    if source.style != target.style:
        return np.ones((side, side), bool)
    is_new_background = source.background != target.background
    mask = np.full((side, side), is_new_background)
    for slot, (before, after) in enumerate(zip(source.toys, target.toys, strict=True)):
        cell = cell_of(mask, slot, source.grid)
        if before != after:
            for toy in filter(None, (before, after)):
                cell |= silhouette(toy)
        elif before and is_new_background:
            cell &= sprite(before)[1][..., 0] < 1
    return mask
