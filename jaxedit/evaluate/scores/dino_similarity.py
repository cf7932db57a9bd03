"""DINO similarity: the cosine between two pictures' features of DINO's class token.

Source: MagicBrush's evaluation.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from jaxedit.evaluate.scores.clip_similarity import cosine
from jaxedit.evaluate.scores.comparisons import unit_range
from jaxedit.evaluate.scores.score import Edit
from jaxedit.evaluate.scores.structure_distance import MEAN, STD

SHORT, SIDE = 256, 224  # pixels: the short side before the crop, and the crop


def dino_similarity(
    reference: Literal["source", "target"], edits: Sequence[Edit], network: Any
) -> list[float]:
    """Return cosines between the edits and their sources or targets."""
    pictures = [getattr(edit, name) for name in (reference, "edited") for edit in edits]
    features = np.asarray(network.class_feature(preprocess(pictures)))
    return cosine(*np.split(features, 2)).tolist()


def preprocess(
    pictures: Sequence[UInt8[np.ndarray, "H W 3"]],
) -> Float32[np.ndarray, "B 224 224 3"]:
    """Resize (bicubic) the short side to 256 pixels, crop the middle, normalise."""
    return (unit_range(list(map(_middle, pictures))) - MEAN) / STD


def _middle(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "224 224 3"]:
    image = Image.fromarray(picture)
    width, height = (SHORT * n // min(image.size) for n in image.size)
    left, top = round((width - SIDE) / 2), round((height - SIDE) / 2)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))
