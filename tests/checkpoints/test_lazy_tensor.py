import pathlib
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from ml_dtypes import bfloat16

from jaxedit.checkpoints import lazy_tensor
from jaxedit.checkpoints.lazy_tensor import (
    concatenate,
    in_file,
    locate,
    span,
    view,
    whole,
)


@pytest.fixture
def store(tmp_path):
    """`store(array)` -> the array in a file, three bytes from its start."""

    def write(array):
        (tmp_path / "file").write_bytes(b"xyz" + array.tobytes() + b"more")
        return in_file(tmp_path / "file", 3, array.dtype, array.shape)

    return write


def test_numbers_by_hand(store):
    stored = store(np.array([[1, 2, 3], [4, 5, 6]], np.int16))
    assert (stored.shape, stored.ndim, stored.size, stored.nbytes) == ((2, 3), 2, 6, 12)
    assert stored[1, 2] == 6 and stored[1].tolist() == [4, 5, 6] and stored[:, 1].tolist() == [2, 5]
    assert np.asarray(stored).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.asarray(stored, np.float32).dtype == np.float32
    transposed = in_file(stored.file, 3, stored.dtype, (3, 2), (1, 3))
    assert transposed[...].tolist() == [[1, 4], [2, 5], [3, 6]]
    repeated = in_file(stored.file, 5, stored.dtype, (2, 2), (0, 2))
    assert repeated[...].tolist() == [[2, 4], [2, 4]]
    assert [span((3, 2), (1, 3)), span((2, 2), (0, 2)), span((0, 2), (2, 1))] == [6, 3, 0]


@pytest.mark.parametrize("dtype", [np.float32, bfloat16, np.bool_, np.int64, np.complex64])
def test_dtypes(store, dtype):
    array = np.array([0, 1, 1]).astype(dtype)
    assert store(array)[...].dtype == dtype and np.array_equal(store(array)[1:], array[1:])


def test_indices_mean_what_they_mean_in_numpy(store):
    generator = np.random.default_rng(0)
    array = generator.standard_normal((4, 3, 5, 2), np.float32)
    stored = store(array)
    for _ in range(200):
        count = generator.integers(5)
        trailing = count and generator.random() < 0.3
        index = [...] if trailing else []
        for n in array.shape[-count:] if trailing else array.shape[:count]:
            start, stop = generator.integers(-n - 1, n + 2, 2)
            part = slice(start, stop)
            index.append([int(start % n), slice(None), part][generator.choice(3)])
        part = stored[tuple(index)]
        assert part.shape == array[tuple(index)].shape and part.flags.c_contiguous
        assert np.array_equal(part, array[tuple(index)])


def test_columns_are_read_one_by_one(store):
    array = np.arange(20 * 3 * 1000, dtype=np.float32).reshape(20, 3, 1000)
    stored = store(array)
    indices = [
        (slice(None), 1),
        (slice(None), 1, slice(0, 200)),
        (..., slice(100, 400)),
        (..., slice(0, 10)),
    ]
    for index in indices:
        assert np.array_equal(stored[index], array[index])
    assert np.array_equal(
        in_file(stored.file, 3, stored.dtype, (1000, 20), (1, 1000))[...],
        array.reshape(-1)[:20000].reshape(20, 1000).T,
    )
    tracemalloc.start()
    assert stored[:, 1, :200].shape == (20, 200)
    assert tracemalloc.get_traced_memory()[1] < array.nbytes / 2
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(7, 10), (70,), (), (0, 3), (1, 2, 35)])
def test_chunks_are_all_of_it_in_order(store, monkeypatch, shape):
    monkeypatch.setattr(lazy_tensor, "PIECE_BYTES", 80)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    chunks = list(store(array).chunks())
    assert np.array_equal(
        np.concatenate([c.reshape(-1) for c in chunks] or [[]]), array.reshape(-1)
    )
    assert all(chunk.size <= max(20, array[:1].size if shape else 1) for chunk in chunks)


def test_reads_only_the_rows_of_an_index(store):
    stored = store(np.zeros((100, 10), np.float32))
    stored.file.write_bytes(stored.file.read_bytes()[:-2000])  # row 50 on is gone
    assert stored[10:20, :2].shape == (10, 2)
    with pytest.raises(ValueError, match="file: cut short: an array ends at byte 4003"):
        stored[60]


@pytest.mark.parametrize(
    "index",
    [
        True,
        None,
        [0],
        1.0,
        "a",
        3,
        (0, 0, 0),
        (..., ...),
        slice(None, None, 2),
        slice(None, None, -1),
    ],
)
def test_other_indices_are_refused(store, index):
    with pytest.raises((IndexError, TypeCheckError)):
        store(np.zeros((2, 3)))[index]


def test_is_not_read_number_by_number(store):
    with pytest.raises(TypeError):
        iter(store(np.zeros(3)))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, (2**60,), (1,)),
        (0, (2,), (2**60,)),
        (0, (1,) * 40, (1,) * 40),
    ],
)
def test_absurd_arrays(offset, shape, strides):
    with pytest.raises(ValueError, match="no array has shape"):
        in_file(pathlib.Path("file"), offset, np.dtype(np.float32), shape, strides)


def test_an_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        in_file(tmp_path / "absent", 0, np.dtype(np.int8), (2,), (1,))[...]


@pytest.mark.parametrize("bytes_of_a_piece", [4, 100, 1 << 26])
def test_functions_see_pieces(store, monkeypatch, bytes_of_a_piece):
    monkeypatch.setattr(lazy_tensor, "PIECE_BYTES", bytes_of_a_piece)
    array = np.arange(30, dtype=np.float32).reshape(5, 3, 2)
    seen = []

    def double(part, box):
        assert not part.shape or np.array_equal(part, array[box])
        seen.append(part.nbytes)
        return (2 * part).astype(np.float64)

    doubled = store(array).map(double, np.float64)
    assert doubled.dtype == np.float64 and not seen
    for index in (np.s_[...], np.s_[()], 2, np.s_[1:4], np.s_[1:4, 2, :1], np.s_[3:3], (2, 1, 0)):
        assert np.array_equal(doubled[index], 2 * array[index])
    assert max(seen) <= max(bytes_of_a_piece, array[0].nbytes)
    assert store(np.full((), 4, np.float32)).map(double, np.float64)[...] == 8


def test_casts_read_nothing_before_they_must(tmp_path):
    absent = in_file(tmp_path / "absent", 0, np.dtype(np.float32), (2,), (1,))
    assert absent.astype(bfloat16).dtype == bfloat16 and absent.astype("f4") is absent


def test_casts(store):
    array = np.arange(6, dtype=np.float32).reshape(2, 3) / 3
    half = store(array).astype(bfloat16)
    assert half[1:].dtype == jnp.asarray(half).dtype == bfloat16
    assert np.array_equal(half[...], array.astype(bfloat16))
    assert [chunk.dtype for chunk in half.chunks()] == [bfloat16]


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
    views = [view(source, (None, 1, 0), whole(source.shape)) for source in sources]
    boxes = [(slice(n, n + 1), slice(0, 2), slice(0, 4)) for n in range(3)]
    return concatenate((3, 2, 4), list(zip(boxes, views, strict=True))), sources


def test_a_view_by_hand():
    array = np.arange(24).reshape(2, 3, 4)
    cut = view(array, (2, None, 1), (slice(1, 2), slice(1, 3), slice(0, 4)))
    assert cut.shape == (4, 1, 2) and cut.size == 8 and cut.dtype == array.dtype
    np.testing.assert_array_equal(cut[...], array[1, 1:].T[:, None])
    np.testing.assert_array_equal(cut[-1, 0], [19, 23])
    np.testing.assert_array_equal(np.asarray(cut, np.float32), array[1, 1:].T[:, None])


@pytest.mark.parametrize(
    "index",
    [..., 1, -1, slice(0, 2), (2, slice(1, 2)), (..., slice(1, 3)), (0, 1, 2), (slice(1, 1),)],
)
def test_indices_of_a_stack(stack, index):
    joined, sources = stack
    expected = np.stack([source.array.T for source in sources])[index]
    assert joined[index].shape == expected.shape
    np.testing.assert_array_equal(joined[index], expected)


def test_only_what_is_asked_for_is_read(stack):
    joined, sources = stack
    assert joined.shape == (3, 2, 4) and joined.dtype == np.int64
    joined[1, :, 2:3]
    assert [source.read for source in sources] == [[], [(slice(2, 3), slice(0, 2))], []]


def test_chunks_of_a_stack_are_layers(stack):
    joined, sources = stack
    chunks = joined.chunks()
    first = next(chunks)
    assert first.shape == (1, 2, 4) and first.flags.c_contiguous
    assert [len(source.read) for source in sources] == [1, 0, 0]
    np.testing.assert_array_equal(np.concatenate([first, *chunks]), joined[...])


def test_scalars():
    joined = concatenate((), (((), view(np.float32(3), (), ())),))
    assert joined[...] == 3 and list(joined.chunks()) == [3]


def test_mixed_precision_loses_nothing():
    halves = (np.full(2, 1 / 3, np.float16), np.full(2, 1e30, np.float32))
    boxes = ((slice(0, 2),), (slice(2, 4),))
    views = [view(half, (0,), whole((2,))) for half in halves]
    joined = concatenate((4,), list(zip(boxes, views, strict=True)))
    np.testing.assert_array_equal(joined[...], np.concatenate(halves))


@pytest.mark.parametrize("index", [3, (0, 0, 4), (0, 0, 0, 0), (slice(None, None, 2),), "a", [0]])
def test_indices_that_name_nothing(index):
    with pytest.raises((IndexError, TypeCheckError)):
        locate(index, (3, 2, 4))
