"""Structure distance: how much the similarities between a picture's places change.

Source: Tumanyan et al. 2022 (Splice), equation 5, as PnPInversion's evaluation computes it: its
pictures stay in 0..255 although the network expects [0,1], and all published numbers depend on it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from jaxedit.evaluate.scores.comparisons import nan_if_empty
from jaxedit.evaluate.scores.score import Edit, Part

SHORT, LONGEST = 224, 480  # pixels
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, in [0,1]
STD = np.array([0.229, 0.224, 0.225], np.float32)


def structure_distance(
    part: Part, edits: Sequence[Edit], network: Any, *, antialias: bool = True
) -> list[float]:
    """Compare a part of the source with the same part of the edit.

    Args:
      antialias: as torchvision resizes tensors from release 0.17 on.
    """
    pairs = [edit.pair(part) for edit in edits]
    pictures = [picture for pair in pairs for picture in (pair.a, pair.b)]
    keys = np.asarray(network.keys(preprocess(np.stack(pictures), antialias=antialias)))
    keys = keys.reshape(len(edits), 2, *keys.shape[1:])
    changes = [self_similarity(a) - self_similarity(b) for a, b in keys]
    return nan_if_empty(np.array([np.square(change).mean() for change in changes]), edits, part)


def preprocess(
    pictures: UInt8[np.ndarray, "B H W 3"], *, antialias: bool = True
) -> Float32[np.ndarray, "B h w 3"]:
    """Resize (linear) the short side to 224 pixels, the long side to at most 480; normalise."""
    import jax

    B, H, W, C = pictures.shape
    short, long = SHORT, SHORT * max(H, W) // min(H, W)
    if long > LONGEST:
        short, long = LONGEST * short // long, LONGEST
    shape = (B, short, long, C) if H <= W else (B, long, short, C)
    pixels = jax.image.resize(pictures.astype(np.float32), shape, "linear", antialias)
    return (np.asarray(pixels) - MEAN) / STD


def self_similarity(keys: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N N"]:
    """Return the cosines between the keys of all tokens."""
    norms = np.linalg.norm(keys, axis=1)
    return keys @ keys.T / np.maximum(np.outer(norms, norms), 1e-8)
