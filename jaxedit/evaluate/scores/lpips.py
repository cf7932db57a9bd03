"""LPIPS: the distance of two pictures in the features of a network.

Source: Zhang et al. 2018, with SqueezeNet, as PnPInversion's evaluation computes it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxedit.evaluate.scores.comparisons import nan_if_empty, unit_range
from jaxedit.evaluate.scores.score import Edit, Part


def lpips(part: Part, edits: Sequence[Edit], network: Any) -> list[float]:
    """Compare a part of the source with the same part of the edit."""
    pairs = [edit.pair(part) for edit in edits]
    source, edited = unit_range([p.a for p in pairs]), unit_range([p.b for p in pairs])
    return nan_if_empty(np.asarray(network.lpips(source, edited)), edits, part)
