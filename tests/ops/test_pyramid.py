import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import SQUARE_SCALES
from jaxedit.ops import pyramid

RESIZES = {"area": pyramid.area_resize, "trilinear": pyramid.linear_resize}


def test_matrices_by_hand():
    overlapping = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(pyramid.area_matrix(3, 2), overlapping)
    np.testing.assert_array_equal(pyramid.area_matrix(2, 1), [[0.5, 0.5]])
    doubled = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_array_equal(pyramid.linear_matrix(2, 4), doubled)
    np.testing.assert_array_equal(pyramid.linear_matrix(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])


@pytest.mark.parametrize("matrix", [pyramid.area_matrix, pyramid.linear_matrix])
@pytest.mark.parametrize("n_in, n_out", [(1, 5), (7, 1), (64, 40), (9, 13)])
def test_rows_are_weights(matrix, n_in, n_out):
    rows = matrix(n_in, n_out)
    assert rows.shape == (n_out, n_in) and rows.dtype == np.float32 and (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("mode", RESIZES)
def test_resizes_match_the_reference(golden, mode):
    arrays, description = golden("bsq_tokenizer_resize")
    cases = [name for name in arrays if name.startswith(mode)]
    assert len(cases) > 10
    for name in cases:
        source, size = name.split(".")[1].split("_to_")
        x = arrays[f"in_{source}"].transpose(0, 2, 3, 1)
        out = RESIZES[mode](jnp.array(x), tuple(map(int, size.split("x"))))
        error = np.abs(np.array(out).transpose(0, 3, 1, 2) - arrays[name]).max()
        assert error < min(1e-6, description["tolerance"]), name


def test_resizes_have_gradients():
    def total(x):
        down = pyramid.area_resize(x, (2, 3))
        return pyramid.linear_resize(down, (6, 6)).sum()

    gradient = jax.grad(total)(jnp.zeros((1, 6, 6, 1)))
    np.testing.assert_allclose(gradient.sum(), 36, rtol=1e-6)


def test_nearest_double_repeats_pixels(golden):
    arrays, _ = golden("bsq_tokenizer_resize")
    x = jnp.array(arrays["in_6x6"].transpose(0, 2, 3, 1))
    out = np.array(pyramid.nearest_double(x)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(out, arrays["nearest2x.6x6_to_12x12"])


def test_schedules_match_the_published_ones(golden):
    _, published = golden("varedit_scale_schedules")
    published = {float(k): tuple(map(tuple, v)) for k, v in published["schedules"].items()}
    assert published == pyramid.SCHEDULES
    assert list(published) == list(pyramid.SCHEDULES)


def test_schedule_of_an_image():
    assert pyramid.schedule(1.0, "0.25M") == SQUARE_SCALES[:10]
    assert pyramid.schedule(480 / 640, "1M") == pyramid.SCHEDULES[0.75]
    assert pyramid.schedule(9.0, "0.06M") == pyramid.SCHEDULES[3.0][:7]
    assert [pyramid.tokens(pyramid.schedule(1.333, s)) for s in pyramid.SIZES] == [
        *(665, 2657, 7085, 10973)
    ]
    with pytest.raises(ValueError, match="size='2M': expected one of 0.06M"):
        pyramid.schedule(1.0, "2M")


def test_offsets_by_hand():
    assert pyramid.offsets(((1, 1), (2, 2), (3, 2))) == (0, 1, 5)
    assert pyramid.tokens(((1, 1), (2, 2), (3, 2))) == 11
