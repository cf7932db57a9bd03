"""Edits of small pictures, for scores without networks and with stand-ins of networks."""

import numpy as np
import pytest

from jaxedit.evaluate.sample import Sample
from jaxedit.evaluate.scores import Edit


@pytest.fixture(scope="session")
def make_edit():
    """`make_edit(source, edited)` -> an edit; the target, the mask and texts are optional."""

    def make(source, edited, target=None, mask=None, **sample):
        mask = None if mask is None else mask.astype(bool)
        return Edit(Sample("0", b"", "edit it", **sample), source, edited, target, mask)

    return make


@pytest.fixture
def noise():
    """`noise(H, W)` -> a picture of random values, another at each call."""
    generator = np.random.default_rng(0)
    return lambda H, W: generator.integers(0, 256, (H, W, 3), np.uint8)
