import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxedit.ops.resize import cubic_matrix, resample, smooth_cubic_matrix

MATRICES = (cubic_matrix, smooth_cubic_matrix)


@pytest.mark.parametrize("matrix", MATRICES)
def test_same_size_is_the_identity(matrix):
    np.testing.assert_array_equal(matrix(7, 7), np.eye(7))


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("n_out", [3, 5, 12, 29])
def test_constants_stay_and_pictures_may_be_mirrored(matrix, n_out):
    weights = matrix(12, n_out)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-6)


def test_doubling_by_hand():
    # position 2 lies at 0.75: distances 1.75, 0.75, 0.25, 1.25 of a = -0.75
    row = cubic_matrix(4, 8)[2]
    far, near = (
        (lambda x: -0.75 * (((x - 5) * x + 8) * x - 4)),
        (lambda x: (1.25 * x - 2.25) * x * x + 1),
    )
    np.testing.assert_allclose(row, [near(0.75) + far(1.75), near(0.25), far(1.25), 0], atol=1e-6)


def test_antialiasing_as_in_pillow():
    picture = np.random.default_rng(0).random((40, 30)).astype(np.float32)
    expected = Image.fromarray(picture).resize((11, 70), Image.Resampling.BICUBIC)
    rows, columns = smooth_cubic_matrix(40, 70), smooth_cubic_matrix(30, 11)
    out = resample(jnp.asarray(picture)[None, :, :, None], rows, columns)
    np.testing.assert_allclose(out[0, :, :, 0], np.asarray(expected), atol=1e-5)


def test_step_moves_the_positions():
    np.testing.assert_array_equal(cubic_matrix(8, 6), cubic_matrix(8, 6, 8 / 6))
    assert np.abs(cubic_matrix(8, 6) - cubic_matrix(8, 6, 8 / 6.1)).max() > 0.01
