"""Scores in the space of CLIP: cosines between pictures and texts, and between their changes.

Source: PnPInversion's evaluation (CLIP similarity, as torchmetrics' CLIPScore), MagicBrush's
(CLIP-I, CLIP-T) and InstructPix2Pix's, by which EMU-Edit is scored (CLIP-Out, -Im, -Dir).
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from jaxedit.evaluate.scores.comparisons import nan_if_empty
from jaxedit.evaluate.scores.score import Edit, Part

Features = Float32[np.ndarray, "B D"]
Encoded = str | UInt8[np.ndarray, "H W 3"]


def similarity(first: str, second: str, edits: Sequence[Edit], network: Any) -> list[float]:
    """Return cosines between two pictures or texts of each edit.

    Args:
      first: attribute of `Edit` with the picture or text, such as "source", "sample.target_prompt".
      second: the same.
    """
    a, b = (_encode(list(map(attrgetter(name), edits)), network) for name in (first, second))
    return cosine(a, b).tolist()


def clip_score(
    picture: Literal["source", "edited"], part: Part, edits: Sequence[Edit], network: Any
) -> list[float]:
    """Return cosines between a part of a picture and its caption, in percent, at least 0."""
    prompt = attrgetter("sample.source_prompt" if picture == "source" else "sample.target_prompt")
    pictures = [edit.keep(getattr(edit, picture), part) for edit in edits]
    cosines = cosine(_encode(pictures, network), _encode(list(map(prompt, edits)), network))
    return nan_if_empty(np.maximum(100 * cosines, 0), edits, part)


def direction(edits: Sequence[Edit], network: Any, *, is_unit: bool = True) -> list[float]:
    """Return cosines between the change of the picture and the change of its caption.

    The cosine is 0 where nothing changes.

    Args:
      is_unit: subtract vectors of length 1, as published.
    """
    pictures = [getattr(edit, name) for name in ("source", "edited") for edit in edits]
    prompts = ("source_prompt", "target_prompt")
    texts = [getattr(edit.sample, name) for name in prompts for edit in edits]
    changes = []
    for items in (pictures, texts):
        features = _encode(items, network)
        before, after = np.split(_unit(features) if is_unit else features, 2)
        changes.append(after - before)
    return cosine(*changes).tolist()


def cosine(a: Features, b: Features) -> Float32[np.ndarray, " B"]:
    """Return the cosine of each pair of rows, 0 where a row is zero."""
    return (_unit(a) * _unit(b)).sum(1)


def _unit(x: Features) -> Features:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-8))


def _encode(items: Sequence[Encoded], network: Any) -> Features:
    """Encode pictures or texts, equal ones once: no rounding then makes their features differ."""
    is_text = isinstance(items[0], str)
    keys = items if is_text else [item.tobytes() for item in items]
    unique = dict(zip(keys, items, strict=True))
    rows = {key: row for row, key in enumerate(unique)}
    encode = network.text_features if is_text else network.image_features
    features = np.asarray(encode(list(unique.values())), np.float32)
    return features[[rows[key] for key in keys]]
