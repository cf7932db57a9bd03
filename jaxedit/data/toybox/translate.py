"""Depth, edge and segmentation maps of a scene, the sources of translation rows."""

import numpy as np
from jaxtyping import UInt8

from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.toybox.backgrounds import HORIZON
from jaxedit.data.toybox.render import cell_of, render, silhouette
from jaxedit.data.toybox.scene import CELL, KINDS, Scene

_SKY, _GROUND = (70, 130, 180), (80, 0, 80)
_KIND_COLOURS = (
    (220, 20, 60), (120, 12, 30), (255, 140, 0), (255, 215, 90),
    (107, 142, 35), (0, 200, 120), (230, 230, 230), (0, 220, 230),
)  # fmt: skip


def translate(scene: Scene, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return the map `name` ("depth", "canny" or "segmentation") of a scene."""
    return {"depth": _depth, "canny": _canny, "segmentation": _segmentation}[name](scene)


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


def _canny(scene: Scene) -> UInt8[np.ndarray, "H W 3"]:
    """Return the edges, computed as for any photo."""
    return edge_map(render(scene))


def _segmentation(scene: Scene) -> UInt8[np.ndarray, "H W 3"]:
    """Return a colour for each kind, for the sky and for the ground."""
    side = scene.grid * CELL
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = _SKY
    picture[int(HORIZON * side) :] = _GROUND
    for slot, toy in scene.filled:
        cell_of(picture, slot, scene.grid)[silhouette(toy)] = _KIND_COLOURS[KINDS.index(toy.kind)]
    return picture
