import io
import math

import numpy as np
import pytest
from PIL import Image

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.miou import areas, miou
from jaxedit.evaluate.scores.predictions import Predictions


def test_equals_the_mean_over_classes_of_the_data_set(golden):
    arrays, description = golden("metrics_translation")
    expected = description["miou"]
    pairs = zip(arrays["miou.gt"], arrays["miou.pred"], strict=True)
    found = np.stack([areas(*pair, expected["num_classes"]) for pair in pairs])
    assert miou(found) == pytest.approx(expected["mIoU_nanmean"], abs=1e-6)
    both, either = found.sum(0)
    np.testing.assert_allclose((both / np.maximum(either, 1))[:5], expected["iou"][:5], atol=1e-6)
    assert either[5] == 0


def test_by_hand():
    labels, predicted = np.uint8([[0, 0, 1, 255]]), np.uint8([[0, 1, 1, 2]])
    found = areas(labels, predicted, 3)
    np.testing.assert_array_equal(found, [[1, 1, 0], [2, 2, 0]])
    assert miou(found[None]) == 0.5
    assert math.isnan(miou(areas(np.full((1, 4), 255), predicted, 3)[None]))


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([[3]], [[0]], "class 3: expected 0 to 2, or labels of 255"),
        ([[0]], [[255]], "class 255: expected 0 to 2"),
        ([[[0, 0, 0]]], [[0]], r"labels \[1, 1, 3\]: expected \[1, 1\]"),
    ],
)
def test_other_classes_are_refused(labels, predicted, message):
    with pytest.raises(ValueError, match=message):
        areas(np.uint8(labels), np.uint8(predicted), 3)


def test_labels_take_the_predictions_size(make_edit, tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.uint8([[7, 170], [255, 0]])).save(file, "PNG")
    edited = np.zeros((4, 4, 3), np.uint8)
    edit = make_edit(edited, edited, labels=file.getvalue())
    predicted = np.uint8([[7, 170], [1, 0]]).repeat(2, 0).repeat(2, 1)
    Image.fromarray(predicted).save(tmp_path / "0.png")
    score = SCORES["miou"]
    features = np.stack(score.features([edit, edit], Predictions(tmp_path)))
    assert features.shape == (2, 2, 171) and score.reduce(features) == 1
