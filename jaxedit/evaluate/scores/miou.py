"""mIoU: how well the classes of an edit's pixels agree with the segmentation that it was made from.

Source: ControlNet++'s evaluation. DeepLabV3, which predicts the classes, runs elsewhere.
"""

import io
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Integer
from PIL import Image

from jaxedit.evaluate.sample import content
from jaxedit.evaluate.scores.predictions import Predictions
from jaxedit.evaluate.scores.score import Edit

CLASSES = 171  # of COCO-Stuff
IGNORED = 255  # label of pixels without a class


def features(edits: Sequence[Edit], predictions: Predictions) -> list[Int64[np.ndarray, "2 V"]]:
    """Return the areas of each class; labels are resized (nearest) to the predictions' sizes.

    Raises:
      OSError, ValueError: labels or a prediction cannot be read, or are not classes.
    """
    found = []
    for edit in edits:
        predicted = predictions.read(edit.sample.key)
        with Image.open(io.BytesIO(content(edit.sample.labels))) as image:
            labels = image.resize(predicted.shape[::-1], Image.Resampling.NEAREST)
        found.append(areas(np.asarray(labels), predicted, CLASSES))
    return found


def areas(
    labels: Integer[np.ndarray, "..."], predicted: Integer[np.ndarray, "H W"], classes: int
) -> Int64[np.ndarray, "2 V"]:
    """Return how many pixels have each class in both pictures, and how many in either.

    Raises:
      ValueError: the labels have several channels, or a pixel has another class.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"labels {list(labels.shape)}: expected {list(predicted.shape)}")
    is_known = labels != IGNORED
    labels, predicted = labels[is_known], predicted[is_known]
    largest = max(labels.max(initial=0), predicted.max(initial=0))
    if largest >= classes:
        raise ValueError(f"class {largest}: expected 0 to {classes - 1}, or labels of {IGNORED}")
    both = np.bincount(labels[labels == predicted], minlength=classes)
    sizes = [np.bincount(picture, minlength=classes) for picture in (labels, predicted)]
    return np.stack([both, sum(sizes) - both])


def miou(areas: Int64[np.ndarray, "B 2 V"]) -> float:
    """Return the mean over classes of intersection over union, both summed over all edits.

    Classes that no pixel has are left out; NaN if there is no other.
    """
    both, either = areas.sum(0)
    found = either > 0
    return float((both[found] / either[found]).mean()) if found.any() else math.nan
