import math

import numpy as np
import pytest

from jaxedit.evaluate.scores import SCORES


class Difference:
    """In the place of LPIPS: the mean difference of the second picture from the first."""

    def lpips(self, a, b):
        assert a.dtype == b.dtype == np.float32 and 0 <= a.min() and b.max() <= 1
        return (b - a).mean((1, 2, 3))


def test_parts_by_hand(make_edit):
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    row = np.zeros((4, 4))
    row[0] = 1
    edits = [make_edit(black, white, mask=mask) for mask in (row, row < 2)]
    assert SCORES["lpips"].compute(edits, Difference()) == [1, 1]
    assert SCORES["lpips_edited"].compute(edits, Difference()) == [0.25, 1]
    background = SCORES["lpips_background"].compute(edits, Difference())
    assert background == pytest.approx([0.75, math.nan], nan_ok=True)
