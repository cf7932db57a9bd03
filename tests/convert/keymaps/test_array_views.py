import numpy as np
import pytest

from jaxedit.convert.keymaps.array_views import ConcatenatedArray, SlicedArray, locate, whole


class Watched:
    """An array that remembers which boxes were read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, index):
        self.read.append(index)
        return self.array[index]


@pytest.fixture
def stack():
    """Three layers [2,4], each the transpose of an array in PyTorch, and their sources."""
    sources = [Watched(np.arange(8).reshape(4, 2) + 10 * n) for n in range(3)]
    views = [SlicedArray(source, (None, 1, 0), whole(source.shape)) for source in sources]
    boxes = [(slice(n, n + 1), slice(0, 2), slice(0, 4)) for n in range(3)]
    return ConcatenatedArray((3, 2, 4), tuple(zip(boxes, views, strict=True))), sources


def test_a_view_by_hand():
    array = np.arange(24).reshape(2, 3, 4)
    view = SlicedArray(array, (2, None, 1), (slice(1, 2), slice(1, 3), slice(0, 4)))
    assert view.shape == (4, 1, 2) and view.size == 8 and view.dtype == array.dtype
    np.testing.assert_array_equal(view[...], array[1, 1:].T[:, None])
    np.testing.assert_array_equal(view[-1, 0], [19, 23])
    np.testing.assert_array_equal(np.asarray(view, np.float32), array[1, 1:].T[:, None])


@pytest.mark.parametrize(
    "index",
    [..., 1, -1, slice(0, 2), (2, slice(1, 2)), (..., slice(1, 3)), (0, 1, 2), (slice(1, 1),)],
)
def test_indices_mean_what_they_mean_in_numpy(stack, index):
    joined, sources = stack
    expected = np.stack([source.array.T for source in sources])[index]
    assert joined[index].shape == expected.shape
    np.testing.assert_array_equal(joined[index], expected)


def test_only_what_is_asked_for_is_read(stack):
    joined, sources = stack
    assert joined.shape == (3, 2, 4) and joined.dtype == np.int64
    joined[1, :, 2:3]
    assert [source.read for source in sources] == [[], [(slice(2, 3), slice(0, 2))], []]


def test_chunks_are_layers_in_order(stack):
    joined, sources = stack
    chunks = joined.chunks()
    first = next(chunks)
    assert first.shape == (1, 2, 4) and first.flags.c_contiguous
    assert [len(source.read) for source in sources] == [1, 0, 0]
    np.testing.assert_array_equal(np.concatenate([first, *chunks]), joined[...])


def test_scalars():
    joined = ConcatenatedArray((), (((), SlicedArray(np.float32(3), (), ())),))
    assert joined[...] == 3 and list(joined.chunks()) == [3]


def test_mixed_precision_loses_nothing():
    halves = (np.full(2, 1 / 3, np.float16), np.full(2, 1e30, np.float32))
    boxes = ((slice(0, 2),), (slice(2, 4),))
    views = [SlicedArray(half, (0,), whole((2,))) for half in halves]
    joined = ConcatenatedArray((4,), tuple(zip(boxes, views, strict=True)))
    np.testing.assert_array_equal(joined[...], np.concatenate(halves))


@pytest.mark.parametrize("index", [3, (0, 0, 4), (0, 0, 0, 0), (slice(None, None, 2),), "a", [0]])
def test_other_indices_are_errors(index):
    with pytest.raises(IndexError):
        locate(index, (3, 2, 4))
