import math

import numpy as np
import pytest

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.fid import clean_resize, frechet_distance


@pytest.mark.parametrize("case", ["corr", "identical", "rank_deficient", "one_dim_like"])
def test_equals_clean_fid(golden, case):
    arrays, description = golden("metrics_fid")
    found = frechet_distance(arrays[f"{case}.a"], arrays[f"{case}.b"])
    expected = description["cases"][case]
    assert found == pytest.approx(expected["fid_cleanfid"], rel=1e-5, abs=1e-8)
    assert found == pytest.approx(expected["fid_eigh_float64"], rel=1e-5, abs=1e-8)


def test_by_hand():
    """One feature: (mean difference)² + (difference of deviations)²."""
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [7.0]])
    assert frechet_distance(a, b) == pytest.approx(3**2 + (math.sqrt(18) - math.sqrt(2)) ** 2)
    assert frechet_distance(a, a[::-1]) == 0
    assert math.isnan(frechet_distance(a, b[:1]))


def test_resize_equals_clean_fid(golden):
    arrays, description = golden("metrics_fid")
    picture = arrays["resize.input"]
    found = clean_resize(picture)
    np.testing.assert_allclose(found[:6], arrays["resize.clean299_rows0_6"], atol=1e-3)
    assert found.mean() == pytest.approx(description["resize"]["clean299_mean"], abs=1e-3)
    assert found.std() == pytest.approx(description["resize"]["clean299_std"], abs=1e-3)


class Means:
    """In the place of Inception: the mean of each channel."""

    def pool_features(self, pixels):
        assert pixels.shape[1:] == (299, 299, 3)
        return pixels.mean((1, 2))


def test_features_of_edits_and_targets(make_edit, noise):
    edits = [make_edit(noise(40, 30), noise(40, 30), target=noise(40, 30)) for _ in range(5)]
    score = SCORES["fid"]
    features = np.stack(score.features(edits, Means()))
    assert features.shape == (5, 2, 3)
    np.testing.assert_allclose(features[3, 1], edits[3].target.mean((0, 1)), atol=1)
    assert score.reduce(features) == frechet_distance(features[:, 0], features[:, 1]) > 0
    assert score.reduce(np.stack([features[:, 0]] * 2, axis=1)) == pytest.approx(0, abs=1e-8)
