import json
import pathlib
import struct

import ml_dtypes
import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file, save, save_file

from jaxedit.checkpoints import safetensors_file


def damaged(path, header, data=b"\0" * 24):
    """Write a file with this header: bytes, or a value that becomes JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_bytes_by_hand(tmp_path):
    safetensors_file.write(tmp_path / "a", {"x": np.array([1, 2], np.float16)})
    header = b'{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}'
    assert len(header) == 54
    expected = struct.pack("<Q", 56) + header + b"  " + b"\x00\x3c\x00\x40"
    assert (tmp_path / "a").read_bytes() == expected


def test_others_read_what_is_written_and_back(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "odd": generator.standard_normal((3, 5)).astype(ml_dtypes.bfloat16),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(7),
        "short": np.arange(-3, 3, dtype=np.int16),
        "mask": np.array([True, False]),
        "transposed": generator.standard_normal((4, 3)).astype(np.float32).T,
    }
    safetensors_file.write(tmp_path / "a", arrays, metadata={"format": "pt"})
    assert safetensors_file.read_metadata(tmp_path / "a") == {"format": "pt"}
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, tmp_path / "b")
    stored = safetensors_file.read_stored(tmp_path / "b")
    for found in (load_file(tmp_path / "a"), {name: stored[name][...] for name in arrays}):
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


@pytest.mark.parametrize(
    "kind", ["float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64", "complex64"]
)
def test_other_types_are_those_of_the_library(tmp_path, kind):
    array = np.array([[1, 2, 4], [0, 1, 8]]).astype(getattr(ml_dtypes, kind, kind))
    (tmp_path / "a").write_bytes(save({"x": array}))
    found = safetensors_file.read_stored(tmp_path / "a")["x"]
    assert found.dtype == array.dtype and np.array_equal(found[...], array)
    assert np.array_equal(found[:, 1], array[:, 1])


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float8_e4m3fn"])
def test_parts_are_read_on_gs_as_elsewhere(tmp_path, bucket, kind):
    array = np.arange(24).reshape(2, 3, 4).astype(getattr(ml_dtypes, kind, kind))
    there = epath.Path("gs://bucket/a")
    for path in (tmp_path / "a", there):
        safetensors_file.write(path, {"b": array[0], "x": array, "empty": array[:0]})
        found = safetensors_file.read_stored(path)
        assert {name: stored.shape for name, stored in found.items()} == {
            "b": (3, 4),
            "x": (2, 3, 4),
            "empty": (0, 3, 4),
        }
        assert {stored.dtype for stored in found.values()} == {array.dtype}
        for index in (np.s_[...], 1, np.s_[:, 1:], (..., np.s_[1:3]), (1, 2, 3), np.s_[1:1]):
            part = found["x"][index]
            assert part.dtype == array.dtype and np.array_equal(part, array[index])
        assert found["empty"][...].shape == (0, 3, 4)


def test_no_file_stays_mapped(tmp_path):
    safetensors_file.write(tmp_path / "a", {"x": np.ones((64, 1024), np.float32)})
    maps, stored = pathlib.Path("/proc/self/maps"), safetensors_file.read_stored(tmp_path / "a")
    part = stored["x"][3:5]
    assert part.sum() == 2048
    assert not maps.exists() or str(tmp_path / "a") not in maps.read_text()


def test_a_file_that_is_cut_after_it_was_opened(tmp_path):
    safetensors_file.write(tmp_path / "a", {"x": np.ones((64, 1024), np.float32)})
    stored = safetensors_file.read_stored(tmp_path / "a")
    with open(tmp_path / "a", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match="a: not a complete safetensors file: cut short") as error:
        stored["x"][0]
    assert "\n" not in str(error.value)
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError, match="a: no such file"):
        stored["x"][0]


def test_parameters_are_finite_floats(tmp_path):
    arrays = {"x": np.ones((2, 3), np.float32), "y": np.ones(2, np.float16)}
    save_file(arrays, tmp_path / "a")
    found = safetensors_file.read_parameters(tmp_path / "a")
    assert {name: array.dtype for name, array in found.items()} == {"x": "f4", "y": "f2"}
    save_file(arrays | {"ids": np.arange(2)}, tmp_path / "a")
    with pytest.raises(ValueError, match="expected F32, BF16, F16 in ids"):
        safetensors_file.read_parameters(tmp_path / "a")
    save_file(arrays | {"y": np.array([1, np.nan], np.float16)}, tmp_path / "a")
    with pytest.raises(ValueError, match="not finite in y"):
        safetensors_file.read_parameters(tmp_path / "a")


class Layers:
    """Three layers of f32[2], yielded layer by layer."""

    shape, dtype, alive = (3, 2), np.dtype(np.float32), 0

    def chunks(self):
        for i in range(3):
            yield np.full((1, 2), i, np.float32)


def test_chunks_are_cast_as_they_come(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_file, "PIECE", 1)
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    safetensors_file.write(tmp_path / "a", {"x": Layers()}, dtypes={"x": bfloat16})
    found = safetensors_file.read_stored(tmp_path / "a")["x"]
    assert found.dtype == bfloat16 and found[...].tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_finite(dtype, value):
    array = np.array([-1e4, 0, 6e4], dtype=dtype)
    assert safetensors_file.is_finite(array) and safetensors_file.is_finite(array[:0])
    array[1] = value
    assert not safetensors_file.is_finite(array)
    assert safetensors_file.is_finite(array[::2])


def test_overflow_is_found_on_the_way(tmp_path):
    arrays = {"small": np.ones(3, np.float32), "large": np.array([1, 7e4], np.float32)}
    half = dict.fromkeys(arrays, np.dtype(np.float16))
    with pytest.raises(ValueError, match="not finite in large"):
        safetensors_file.write(tmp_path / "a", arrays, dtypes=half)


def entry(**changes):
    return {"x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        {"x": 3},
        {"x": {"dtype": "F32"}},
        entry(dtype="F8_E4M3"),
        entry(dtype=["F32"]),
        entry(shape=[2, 4]),
        entry(shape=[-2, -3]),
        entry(shape=[2.0, 3]),
        entry(shape=7),
        entry(data_offsets=[0, 24, 24]),
        entry(data_offsets=[-4, 20]),
        entry(data_offsets=["0", "24"]),
        {**entry(), "y": entry()["x"]},
        entry() | {"y": {"dtype": "F32", "shape": [1], "data_offsets": [28, 32]}},
    ],
)
def test_damage_is_one_line(tmp_path, header):
    with pytest.raises(ValueError, match="not a complete safetensors file") as error:
        safetensors_file.read_stored(damaged(tmp_path / "a", header))
    assert "\n" not in str(error.value) and str(tmp_path / "a") in str(error.value)


def test_damage_on_gs_is_one_line(bucket):
    whole = save({"x": np.ones((2, 3), np.float32)})
    length = (10**12).to_bytes(8, "little")
    for data in (b"", whole[:7], whole[:30], whole[:-1], whole + b"x", length + whole[8:]):
        epath.Path("gs://bucket/a").write_bytes(data)
        with pytest.raises(ValueError, match="gs://bucket/a: not a complete safeten") as error:
            safetensors_file.read_stored(epath.Path("gs://bucket/a"))
        assert "\n" not in str(error.value)


def test_every_flipped_or_missing_byte_is_a_value_error(tmp_path):
    path = tmp_path / "a"
    safetensors_file.write(path, {"x": np.ones((2, 3), np.float32), "y": np.ones(2, np.float16)})
    whole = path.read_bytes()
    for place in range(len(whole) - 28):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            safetensors_file.read_stored(path)
        except ValueError:
            pass
    for length in (0, 7, 8, 60, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a complete"):
            safetensors_file.read_stored(path)
