import tracemalloc

import numpy as np
import pytest
from ml_dtypes import bfloat16

from jaxedit.checkpoints import lazy_tensor as stored_module
from jaxedit.checkpoints.lazy_tensor import LazyTensor, contiguous


@pytest.fixture
def store(tmp_path):
    """`store(array)` -> the array in a file, three bytes from its start."""

    def write(array):
        (tmp_path / "file").write_bytes(b"xyz" + array.tobytes() + b"more")
        return LazyTensor(tmp_path / "file", 3, array.dtype, array.shape, contiguous(array.shape))

    return write


def test_numbers_by_hand(store):
    stored = store(np.array([[1, 2, 3], [4, 5, 6]], np.int16))
    assert stored.strides == (3, 1) and stored.size == 6 and stored.nbytes == 12
    assert stored.end == 15
    assert stored[1, 2] == 6 and stored[1].tolist() == [4, 5, 6] and stored[:, 1].tolist() == [2, 5]
    assert np.asarray(stored).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.asarray(stored, np.float32).dtype == np.float32
    transposed = LazyTensor(stored.file, 3, stored.dtype, (3, 2), (1, 3))
    assert transposed[...].tolist() == [[1, 4], [2, 5], [3, 6]] and transposed.end == 15
    repeated = LazyTensor(stored.file, 5, stored.dtype, (2, 2), (0, 2))
    assert repeated[...].tolist() == [[2, 4], [2, 4]]


@pytest.mark.parametrize("dtype", [np.float32, bfloat16, np.bool_, np.int64, np.complex64])
def test_dtypes(store, dtype):
    array = np.array([0, 1, 1]).astype(dtype)
    assert store(array)[...].dtype == dtype and np.array_equal(store(array)[1:], array[1:])


def test_every_index_is_numpys(store):
    generator = np.random.default_rng(0)
    array = generator.standard_normal((4, 3, 5, 2), np.float32)
    stored = store(array)
    for _ in range(200):
        count = generator.integers(5)
        trailing = count and generator.random() < 0.3
        index = [...] if trailing else []
        for n in array.shape[-count:] if trailing else array.shape[:count]:
            start, stop = generator.integers(-n - 1, n + 2, 2)
            part = slice(start, stop, generator.choice([-2, -1, 1, 2]))
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
        (slice(None, None, -3), slice(None, 2), slice(None, None, -1)),
        (..., slice(0, 10)),
    ]
    for index in indices:
        assert np.array_equal(stored[index], array[index])
    assert np.array_equal(
        LazyTensor(stored.file, 3, stored.dtype, (1000, 20), (1, 1000))[...],
        array.reshape(-1)[:20000].reshape(20, 1000).T,
    )
    tracemalloc.start()
    assert stored[:, 1, :200].shape == (20, 200)
    assert tracemalloc.get_traced_memory()[1] < array.nbytes / 2
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(7, 10), (70,), (), (0, 3), (1, 2, 35)])
def test_chunks_are_all_of_it_in_order(store, monkeypatch, shape):
    monkeypatch.setattr(stored_module, "PIECE", 20)
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


@pytest.mark.parametrize("index", [True, None, [0], 1.0, "a", 3, (0, 0, 0), (..., ...)])
def test_other_indices_are_refused(store, index):
    with pytest.raises(IndexError):
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
        LazyTensor("file", offset, np.dtype(np.float32), shape, strides)


def test_an_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        LazyTensor(tmp_path / "absent", 0, np.dtype(np.int8), (2,), (1,))[...]
