"""Pictures and maps of scenes, and the exact mask of an edit."""

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.toybox.backgrounds import HORIZON, backdrop, textured_backdrop
from jaxedit.data.toybox.drift import Drift
from jaxedit.data.toybox.scene import CELL, KINDS, Scene, Toy
from jaxedit.data.toybox.sprites import sprite

_SKY, _GROUND = (70, 130, 180), (80, 0, 80)  # in segmentation maps
_KIND_COLOURS = (
    (220, 20, 60), (120, 12, 30), (255, 140, 0), (255, 215, 90),
    (107, 142, 35), (0, 200, 120), (230, 230, 230), (0, 220, 230),
)  # fmt: skip
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


def render(
    scene: Scene, *, margin: tuple[int, int] = (0, 0), drift: Drift | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the picture of a scene.

    Args:
      margin: rows and columns of background added on both sides of the square scene.
      drift: a change of the background, which has textures.
    """
    is_sketch = scene.style == "sketch"
    side = scene.grid * CELL
    if scene.texture_seed is None or is_sketch:
        empty = backdrop(scene.background, side, sketch=is_sketch, margin=margin)
    else:
        empty = textured_backdrop(
            scene.background, side, scene.texture_seed, margin=margin, drift=drift
        )
    picture = empty.copy()
    square = middle(picture, side)
    for slot, toy in scene.filled:
        colour, alpha = sprite(toy._replace(colour="sketch") if is_sketch else toy)
        cell = cell_of(square, slot, scene.grid)
        cell[:] = colour + (1 - alpha) * cell + 0.5
    return restyle(picture, scene.style)


def middle(picture: Shaped[np.ndarray, "H W *C"], side: int) -> Shaped[np.ndarray, "S S *C"]:
    """Return a view of the square scene in the middle of a picture."""
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    return picture[top : top + side, left : left + side]


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


def edit_mask(
    source: Scene, target: Scene, *, margin: tuple[int, int] = (0, 0)
) -> Bool[np.ndarray, "H W"]:
    """Return the pixels that may differ between the pictures of two scenes.

    For local edits they are the union of the silhouettes before and after; for another background,
    everything except the inside of the kept toys; for another style, everything.

    Args:
      margin: see `render`.
    """
    side = source.grid * CELL
    shape = [side + 2 * m for m in margin]
    if source.style != target.style:
        return np.ones(shape, bool)
    is_new_background = source.background != target.background
    mask = np.full(shape, is_new_background)
    for slot, (before, after) in enumerate(zip(source.toys, target.toys, strict=True)):
        cell = cell_of(middle(mask, side), slot, source.grid)
        if before != after:
            for toy in filter(None, (before, after)):
                cell |= silhouette(toy)
        elif before and is_new_background:
            cell &= sprite(before)[1][..., 0] < 1
    return mask


def translate(scene: Scene, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return the map `name` ("depth", "canny" or "segmentation") of a scene."""
    if name == "canny":
        return edge_map(render(scene))  # the edges, computed as for any photo
    return {"depth": _depth, "segmentation": _segmentation}[name](scene)


def _depth(scene: Scene) -> UInt8[np.ndarray, "H W 3"]:
    """Return the depth map; near is bright: toys in lower rows are nearer, the sky is far."""
    side = scene.grid * CELL
    horizon = int(HORIZON * side)
    picture = np.full((side, side, 3), 20, np.uint8)
    ground = np.linspace(20, 140, side - horizon).astype(np.uint8)
    picture[horizon:] = ground[:, None, None]
    for slot, toy in scene.filled:
        near = 150 + 90 * (slot // scene.grid) // (scene.grid - 1)
        cell_of(picture, slot, scene.grid)[silhouette(toy)] = near
    return picture


def _segmentation(scene: Scene) -> UInt8[np.ndarray, "H W 3"]:
    """Return a colour for each kind, for the sky and for the ground."""
    side = scene.grid * CELL
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = _SKY
    picture[int(HORIZON * side) :] = _GROUND
    for slot, toy in scene.filled:
        cell_of(picture, slot, scene.grid)[silhouette(toy)] = _KIND_COLOURS[KINDS.index(toy.kind)]
    return picture
