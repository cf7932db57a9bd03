import argparse
import collections
import pathlib
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import torch_writer
from ml_dtypes import bfloat16

from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.convert.torch_reader import torch_file
from jaxedit.convert.torch_reader.torch_file import read_index

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("name", ["torch_types", "torch_protocol4"])
def test_every_dtype_and_view_of_pytorch(golden, name):
    expected, _ = golden("torch_types")
    found = read_index(GOLDEN / f"{name}.pt")
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape
        assert np.array_equal(found[key][...], array), key


def test_a_training_run_of_pytorch(golden):
    expected, description = golden("torch_run")
    run = read_index(GOLDEN / "torch_run.pt")
    assert set(run) == {"model", "optimizer", "steps", "args"} and run["steps"] == 7
    assert dict(run["args"]) == description["args"]
    assert {key: array[...].tolist() for key, array in run["model"].items()} == {
        key: array.tolist() for key, array in expected.items()
    }
    assert run["optimizer"]["state"][0]["exp_avg"].shape == (4, 3)
    assert run["optimizer"]["param_groups"][0]["params"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch_module.pt", r"torch_module.pt: refused: it needs 'torch.nn.modules.linear.Linear'"),
        ("torch_legacy.pt", r"before PyTorch 1.6; save it again .*torch.save\(torch.load\("),
        ("torch_types.json", r"torch_types.json: not a PyTorch file: a text in JSON.*: { .by"),
    ],
)
def test_files_that_are_not_plain_weights(name, message):
    with pytest.raises(ValueError, match=message):
        read_index(GOLDEN / name)


def test_what_our_writer_writes(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6).copy()
    content = {
        "half": np.arange(6).reshape(2, 3).astype(bfloat16),
        "base": base,
        "views": [base.T, base[1:, ::2], base[3]],
        "fortran": np.asfortranarray(base + 1),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), np.int64),
        "parameter": torch_writer.Parameter(np.ones(2, np.float16)),
        "ordered": collections.OrderedDict(a=np.array([True, False])),
        "args": argparse.Namespace(rate=1e-4, large=-(2**40), name="é", none=None, pair=(1, True)),
    }
    torch_writer.save(tmp_path / "file.pt", content)
    found = read_index(tmp_path / "file.pt")
    assert dict(found.pop("args")) == vars(content.pop("args"))
    for key, stored in _flat(found).items():
        array = _flat(content)[key]
        array = getattr(array, "data", array) if key == "parameter" else array
        assert stored.dtype == array.dtype and np.array_equal(stored[...], array), key


FLOATS8 = (
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
)


@pytest.mark.parametrize("kind", [*FLOATS8, "uint16", "uint32", "uint64", "complex128"])
def test_types_without_storages_of_their_own(tmp_path, kind):
    whole = np.array([[1, 2, 4, 0.5], [8, 16, 2, 1]]).astype(getattr(ml_dtypes, kind, kind))
    views = {"w": whole, "t": whole.T, "part": whole[1, ::2], "row": whole[1:]}
    torch_writer.save(tmp_path / "f.pth", views)
    found = read_index(tmp_path / "f.pth")
    for key, view in views.items():
        assert found[key].dtype == whole.dtype
        assert np.array_equal(found[key][...], view), key


def test_a_file_of_pytorch_with_8_bit_floats():
    weight = read_index(GOLDEN / "torch_fp8.pth")["w"]
    assert weight.dtype == ml_dtypes.float8_e4m3fn
    assert np.array_equal(weight[1:3].astype("f4"), np.ones((2, 4), "f4"))


def _flat(value, key=""):
    if isinstance(value, dict):
        return {k: v for name, item in value.items() for k, v in _flat(item, name).items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{key}{i}").items()}
    return {key: value}


def test_a_file_of_33_gigabytes_costs_nothing_until_it_is_read(tmp_path):
    shapes = {f"blocks.{i}.weight": (16384, 16384) for i in range(31)}
    arrays = {
        key: torch_writer.Virtual(shape, np.dtype(np.float32)) for key, shape in shapes.items()
    }
    torch_writer.save(tmp_path / "large.pth", arrays | {"last": np.arange(3)})
    size = (tmp_path / "large.pth").stat()
    assert size.st_size > 33e9 and size.st_blocks * 512 < 2e6
    tracemalloc.start()
    found = read_index(tmp_path / "large.pth")
    assert found["last"][...].tolist() == [0, 1, 2]
    assert not found["blocks.30.weight"][7:9].any()
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_generated_numbers_come_from_their_seed(tmp_path):
    virtual = torch_writer.Virtual((3, 4), np.dtype(bfloat16), seed=5)
    torch_writer.save(tmp_path / "file.pt", {"a": virtual})
    read = read_index(tmp_path / "file.pt")["a"][...]
    assert np.array_equal(read.reshape(-1), np.concatenate(list(virtual.pieces())))
    assert 0.005 < read.astype(np.float32).std() < 0.05


def test_inert_values(tmp_path):
    program = (
        b"\x80\x02}(X\1\0\0\0dctorch\nfloat16\nX\1\0\0\0pctorch\ndevice\n(X\4\0\0\0cudaK\1tR"
        b"X\1\0\0\0sctorch\nSize\n(K\2K\3t\x85Ru."
    )
    torch_writer.write_zip(tmp_path / "file.pt", {"a/data.pkl": program})
    expected = {"d": np.dtype(np.float16), "p": "cuda:1", "s": (2, 3)}
    assert read_index(tmp_path / "file.pt") == expected


def test_types_are_those_of_the_writer():
    names = {dtype.name: f"{kind}Storage" for kind, dtype in torch_file.STORAGES.items()}
    assert names.items() >= torch_writer.STORAGES.items()
    assert isinstance(read_index(GOLDEN / "torch_types.pt")["int8"], LazyTensor)
