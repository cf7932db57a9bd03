"""Comparisons of edits with their sources or targets, by metrics of two pictures."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from jaxedit.evaluate.scores.pair import Pair
from jaxedit.evaluate.scores.score import Edit, Part

Metric = Callable[[Pair], float]


def nan_if_empty(values: Float[np.ndarray, " B"], edits: Sequence[Edit], part: Part) -> list[float]:
    """Return a number for each edit, NaN where its part has no pixel."""
    if part == "whole":
        return values.tolist()
    return np.where([edit.mask_of(part).any() for edit in edits], values, math.nan).tolist()


def with_source(metric: Metric, part: Part, edits: Sequence[Edit], network: Any) -> list[float]:
    """Compare a part of the source with the same part of the edit."""
    return nan_if_empty(np.array([metric(edit.pair(part)) for edit in edits]), edits, part)


def with_target(metric: Metric, edits: Sequence[Edit], network: Any) -> list[float]:
    """Compare the target with the edit."""
    return [metric(Pair(edit.target, edit.edited)) for edit in edits]


def unit_range(pictures: Sequence[np.ndarray]) -> Float32[np.ndarray, "B H W 3"]:
    """Return pictures u8[H,W,3] of one size as numbers in [0,1]."""
    return np.stack(pictures).astype(np.float32) / np.float32(255)
