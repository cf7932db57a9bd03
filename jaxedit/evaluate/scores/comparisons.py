"""The pictures, and the parts of pictures, that scores compare."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from jaxedit.evaluate.scores.score import Edit

Part = Literal["whole", "background", "edited"]
Metric = Callable[[np.ndarray, np.ndarray], float]  # of two pictures u8[H,W,3]


def keep_part(picture: UInt8[np.ndarray, "H W 3"], edit: Edit, part: Part) -> np.ndarray:
    """Return the picture, black outside the part of the edit."""
    if part == "whole":
        return picture
    return picture * _mask(edit, part)[..., None]


def nan_if_empty(values: Float[np.ndarray, " B"], edits: Sequence[Edit], part: Part) -> list[float]:
    """Return a number for each edit, NaN where its part has no pixel."""
    if part == "whole":
        return values.tolist()
    return np.where([_mask(edit, part).any() for edit in edits], values, math.nan).tolist()


def with_source(metric: Metric, part: Part, edits: Sequence[Edit], network: Any) -> list[float]:
    """Compare a part of the source with the same part of the edit."""
    pairs = ([keep_part(p, e, part) for p in (e.source, e.edited)] for e in edits)
    return nan_if_empty(np.array([metric(*pair) for pair in pairs]), edits, part)


def with_target(metric: Metric, edits: Sequence[Edit], network: Any) -> list[float]:
    """Compare the target with the edit."""
    return [metric(edit.target, edit.edited) for edit in edits]


def unit_range(pictures: Sequence[np.ndarray]) -> Float32[np.ndarray, "B H W 3"]:
    """Return pictures u8[H,W,3] of one size as numbers in [0,1]."""
    return np.stack(pictures).astype(np.float32) / np.float32(255)


def _mask(edit: Edit, part: Part) -> Bool[np.ndarray, "H W"]:
    return edit.mask if part == "edited" else ~edit.mask
