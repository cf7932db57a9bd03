"""Scores of edges: how well the Canny edges of an edit agree with those of the target.

Source: ControlNet++'s evaluation.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxedit.evaluate.scores.comparisons import Metric
from jaxedit.evaluate.scores.pair import Pair
from jaxedit.evaluate.scores.pixel_error import psnr
from jaxedit.evaluate.scores.score import Edit

MAX_PSNR = 100.0  # dB, for equal edges


def with_edges(metric: Metric, edits: Sequence[Edit], network: Any) -> list[float]:
    """Compare the edges of the target with the edges of the edit."""
    return [metric(edit.edges) for edit in edits]


def f1(pair: Pair) -> float:
    """Return the harmonic mean of precision and recall; NaN if neither picture has edges."""
    both = np.count_nonzero(pair.a & pair.b)
    total = np.count_nonzero(pair.a) + np.count_nonzero(pair.b)
    return 2 * both / total if total else math.nan


def finite_psnr(pair: Pair) -> float:
    """Return the PSNR in dB, 100 for equal edges."""
    return min(psnr(pair), MAX_PSNR)
