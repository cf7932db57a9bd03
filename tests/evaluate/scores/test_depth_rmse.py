import io

import numpy as np
import pytest
from PIL import Image

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.depth_rmse import depth_levels, label_levels, rmse
from jaxedit.evaluate.scores.predictions import Predictions


def png(pixels):
    """The content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_equals_control_net(golden, make_edit, tmp_path):
    arrays, description = golden("metrics_translation")
    expected = description["depth"]
    size = (expected["resolution"],) * 2
    label, depth = arrays["depth.label_rgb"], arrays["depth.pred"]
    np.testing.assert_array_equal(label_levels(label, size), arrays["depth.label_u8"])
    np.testing.assert_array_equal(depth_levels(depth, size), arrays["depth.pred_u8"])
    np.save(tmp_path / "0.npy", depth)
    edited = np.zeros((*size, 3), np.uint8)
    edit = make_edit(edited, edited, labels=png(label))
    found = SCORES["depth_rmse"].compute([edit], Predictions(tmp_path))
    assert found == pytest.approx([expected["rmse"]], abs=1e-4)


def test_by_hand():
    label = np.full((2, 2, 3), 100, np.uint8)
    assert not label_levels(label, (2, 2)).any()  # constant
    label[0] = 102
    np.testing.assert_array_equal(label_levels(label, (4, 2)), [[255] * 4, [0] * 4])
    np.testing.assert_array_equal(depth_levels(np.float32([[1, 4]]), (2, 1)), [[63, 255]])
    assert not depth_levels(np.zeros((2, 2), np.float32), (2, 2)).any()
    stored = np.uint8([[7, 9]])  # levels already
    np.testing.assert_array_equal(depth_levels(stored, (2, 1)), stored)
    assert rmse(np.uint8([[0, 255]]), np.uint8([[3, 251]])) == pytest.approx(12.5**0.5)


def test_missing_and_wrong_predictions(make_edit, tmp_path):
    edited = np.zeros((4, 4, 3), np.uint8)
    edit = make_edit(edited, edited, labels=png(edited))
    compute = SCORES["depth_rmse"].compute
    with pytest.raises(FileNotFoundError, match=r"no prediction: expected .*0\.npy or \.png"):
        compute([edit], Predictions(tmp_path))
    (tmp_path / "0.png").write_bytes(png(edited))
    with pytest.raises(ValueError, match=r"shape \[4, 4, 3\]: expected \[H,W\]"):
        compute([edit], Predictions(tmp_path))
    (tmp_path / "0.png").write_bytes(png(edited[..., 0]))
    assert compute([edit], Predictions(tmp_path)) == [0]
