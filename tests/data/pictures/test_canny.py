import numpy as np
import pytest

from jaxedit.data.pictures.canny import blur, canny, edge_map, thin


def test_equals_kornia(golden):
    arrays, _ = golden("canny_kornia")
    for i in (0, 1):
        pixels = arrays[f"in/image{i}"].transpose(1, 2, 0)
        blurred = blur(pixels @ np.array([0.299, 0.587, 0.114], np.float32))
        np.testing.assert_allclose(blurred, arrays[f"out/blurred{i}"][0], atol=1e-6)
        ridges = thin(blurred)
        np.testing.assert_allclose(ridges, arrays[f"out/nms_magnitude{i}"][0], atol=2e-6)
        np.testing.assert_array_equal(canny(pixels), arrays[f"out/edges{i}"][0] > 0)


def test_a_wall_by_hand():
    luma = np.zeros((6, 9), np.float32)
    luma[:, 3] = 0.1
    luma[:, 4:] = 0.3
    ridges = thin(luma)
    # Sobel sums four rows: 4 * 0.3 where both sides of the column differ most
    np.testing.assert_allclose(ridges[1:-1, 3], 1.2, rtol=1e-5)
    assert not ridges[:, [1, 2, 4, 5]].any()


def test_weak_edges_need_a_strong_one():
    ramp = np.linspace(0, 0.12, 20, dtype=np.float32)[:, None]  # the step fades from top to bottom
    pixels = np.zeros((20, 16, 3), np.float32)
    pixels[:, 8:] = ramp[:, :, None]
    edges = canny(pixels, 0.1, 0.2)
    strong = canny(pixels, 0.2, 0.2)
    assert strong.any() and (edges & ~strong).any() and not (strong & ~edges).any()
    assert not canny(pixels, 0.1, 0.9).any()


def test_edge_map_is_white_on_black():
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[4:12, 4:12] = 255
    edges = edge_map(photo)
    assert edges.shape == photo.shape and edges.dtype == np.uint8
    assert set(np.unique(edges)) == {0, 255} and not edges[7:9, 7:9].any()
    np.testing.assert_array_equal(edges[:, ::-1].any(2), edges.any(2))
    assert not edge_map(np.full_like(photo, 200)).any()


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.float32)])
def test_other_arrays_are_refused(wrong):
    with pytest.raises(ValueError, match="expected float32"):
        canny(wrong)
