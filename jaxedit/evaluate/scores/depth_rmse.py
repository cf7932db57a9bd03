"""Depth RMSE: how far the depth of an edit is from the depth map that it was made from.

Source: ControlNet++'s evaluation; depths are predicted by DPT-Large, which runs elsewhere.
"""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from jaxedit.evaluate.sample import content
from jaxedit.evaluate.scores.predictions import Predictions
from jaxedit.evaluate.scores.score import Edit


def depth_rmse(edits: Sequence[Edit], predictions: Predictions) -> list[float]:
    """Return root mean squared differences of depths, in 0..255."""
    values = []
    for edit in edits:
        size = edit.edited.shape[1::-1]
        with Image.open(io.BytesIO(content(edit.sample.labels))) as image:
            label = label_levels(np.asarray(image.convert("RGB")), size)
        values.append(rmse(label, depth_levels(predictions.read(edit.sample.key), size)))
    return values


def rmse(a: UInt8[np.ndarray, "H W"], b: UInt8[np.ndarray, "H W"]) -> float:
    """Return the root mean squared difference."""
    return float(np.sqrt(np.square(np.subtract(a, b, dtype=np.int32)).mean()))


def label_levels(
    label: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Stretch a depth map to all of 0..255, then resize (nearest) to (width, height), as grey."""
    low, high = int(label.min()), int(label.max())
    levels = np.arange(high - low + 1) / max(high - low, 1) * 255
    image = Image.fromarray(levels.astype(np.uint8)[label - low])
    return np.asarray(image.resize(size, Image.Resampling.NEAREST).convert("L"))


def depth_levels(
    depth: Shaped[np.ndarray, "H W"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Scale a predicted depth, at least 0, to a maximum of 255; resize (linear) to (width, height).

    uint8 is scaled already.
    """
    if depth.dtype != np.uint8:
        depth = (depth / (depth.max() or 1) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(depth).resize(size, Image.Resampling.BILINEAR))
