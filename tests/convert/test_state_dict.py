import argparse
import json
import pathlib

import numpy as np
import pytest
import torch_writer
from etils import epath
from safetensors.numpy import save_file

from jaxedit.convert.state_dict import open_state

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
ONE, TWO = np.array([1.0], np.float32), np.array([2.0], np.float32)


def values(state):
    """{name: the numbers}."""
    return {name: array[...].tolist() for name, array in state.arrays.items()}


@pytest.fixture
def save(tmp_path):
    def write(content, name="file.pt"):
        torch_writer.save(tmp_path / name, content)
        return tmp_path / name

    return write


def test_a_training_run_of_pytorch(golden):
    expected, description = golden("torch_run")
    state = open_state(GOLDEN / "torch_run.pt")
    assert values(state) == {name: array.tolist() for name, array in expected.items()}
    assert state.settings == description["args"]
    sharded = open_state(str(GOLDEN / "torch_fsdp.pt"))
    assert values(sharded) == values(state) and sharded.settings == {}
    average = open_state(GOLDEN / "torch_fsdp.pt", ema=True)
    assert values(average)["a.bias"] == (2 * expected["a.bias"]).tolist()


@pytest.mark.parametrize(
    "way",
    [
        "",
        "model",
        "module",
        "state_dict",
        "vae",
        "trainer/gpt_fsdp",
        "trainer/vae",
        "ema",
        "model/ema",
    ],
)
def test_weights_lie_under_known_keys(save, way):
    content = {"w": ONE}
    for key in reversed(way.split("/") if way else []):
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"m": TWO}}}}
    assert values(open_state(save(content))) == {"w": [1.0]}


def test_the_average_only_when_asked(save):
    path = save({"model": {"w": ONE}, "ema": {"w": TWO}})
    assert values(open_state(path)) == {"w": [1.0]}
    assert values(open_state(path, ema=True)) == {"w": [2.0]}
    with pytest.raises(ValueError, match="holds no moving average of weights"):
        open_state(save({"model": {"w": ONE}}), ema=True)


def test_names_lose_their_wrappers(save):
    names = {
        "module.a": "a",
        "_orig_mod.b": "b",
        "module._orig_mod.c.d": "c.d",
        "_fsdp_wrapped_module.e._fsdp_wrapped_module.f": "e.f",
        "g._checkpoint_wrapped_module.weight": "g.weight",
        "_orig_mod.module.i._orig_mod._fsdp_wrapped_module.j": "i.j",
        "chunks.0.module.1.weight": "chunks.0.module.1.weight",  # VAREdit's own
        "my_orig_mod.h": "my_orig_mod.h",
    }
    assert set(open_state(save(dict.fromkeys(names, ONE))).arrays) == set(names.values())
    with pytest.raises(ValueError, match="there twice: a"):
        open_state(save({"a": ONE, "module.a": TWO}))


def test_only_tensors_are_weights(save):
    content = {"w": ONE, "step": 3, "name": "x", "none": None, 5: TWO}
    assert set(open_state(save(content)).arrays) == {"w"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "found no weights, but nothing"),
        ({"epoch": 3, "weights": {"w": ONE}}, "found no weights, but epoch, weights"),
        ({"model": {"encoder": {"w": ONE}}}, "found no weights under model, but encoder"),
        ([ONE], "found no weights, but list"),
        (ONE, "found no weights, but a single tensor"),
        ({"a\nb": 1}, r"found no weights, but a\\nb"),
        ({"w\x1b[2J": ONE}, r"'w\\x1b\[2J' is no name of weights"),
    ],
)
def test_no_weights(save, content, message):
    with pytest.raises(ValueError, match=message):
        open_state(save(content))


def test_settings_of_the_run_or_of_the_directory(save, tmp_path):
    run = argparse.Namespace(rate=0.1, model="XL")
    assert open_state(save({"w": ONE, "args": run})).settings == {"rate": 0.1, "model": "XL"}
    (tmp_path / "config.json").write_text('{"d_model": 64}')
    assert open_state(save({"w": ONE})).settings == {"d_model": 64}
    assert open_state(save({"w": ONE, "args": {"rate": 1}})).settings == {"rate": 1}
    for damaged in ("{", "[1]", "[" * 99999, "\udcff"):
        (tmp_path / "config.json").write_text(damaged, errors="surrogateescape")
        with pytest.raises(ValueError, match="config.json: (not JSON|expected a JSON dict)"):
            open_state(save({"w": ONE}))


def shard(directory, suffix, weight_map=None):
    """Two shards and their index, as on the Hub."""
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = [f"{stem}-0000{i}-of-00002.{suffix}" for i in (1, 2)]
    for name, arrays in zip(names, ({"a": ONE, "b": TWO}, {"c": ONE}), strict=True):
        if suffix == "safetensors":
            save_file(arrays, directory / name)
        else:
            torch_writer.save(directory / name, arrays)
    weight_map = weight_map or {"a": names[0], "b": names[0], "c": names[1]}
    index = {"metadata": {"total_size": 12}, "weight_map": weight_map}
    (directory / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    return directory


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_shards_with_an_index(tmp_path, suffix):
    (shard(tmp_path, suffix) / "config.json").write_text('{"layers": 2}')
    (tmp_path / "tokenizer.json").write_text("{}")
    state = open_state(tmp_path)
    assert values(state) == {"a": [1.0], "b": [2.0], "c": [1.0]}
    assert state.settings == {"layers": 2}
    (index,) = tmp_path.glob("*.index.json")
    assert values(open_state(index)) == values(state)
    index.write_text(index.read_text().replace('"a"', '"module.a"'))
    assert values(open_state(index)) == values(state)


class Remote:
    """As little of a file as TensorFlow's file systems offer."""

    def __init__(self, file):
        self.read, self.tell, self.file = file.read, file.tell, file

    def seek(self, offset, whence=0):
        self.file.seek(offset, whence)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_remote_files(tmp_path, monkeypatch, suffix):
    shard(tmp_path, suffix)
    path = type(epath.Path(tmp_path))
    local = path.open
    monkeypatch.setattr(path, "open", lambda self, mode: Remote(local(self, mode)))
    assert values(open_state(tmp_path)) == {"a": [1.0], "b": [2.0], "c": [1.0]}


def test_both_formats_of_the_hub_are_one_model(tmp_path):
    state = open_state(shard(shard(tmp_path, "bin"), "safetensors"))
    assert state.arrays["a"].file.suffix == ".safetensors"


def test_a_directory_with_one_file(tmp_path):
    save_file({"w": ONE}, tmp_path / "any.safetensors")
    (tmp_path / "._any.safetensors").write_bytes(b"of a Mac")
    assert values(open_state(tmp_path)) == {"w": [1.0]}


def test_a_directory_with_another_number_of_models(tmp_path):
    with pytest.raises(ValueError, match="expected one model, found 0$"):
        open_state(tmp_path)
    save_file({"w": ONE}, tmp_path / "one.safetensors")
    torch_writer.save(tmp_path / "two.pth", {"w": ONE})
    message = "expected one model, found 2: one.safetensors, two.pth; name one of them"
    with pytest.raises(ValueError, match=message):
        open_state(tmp_path)
    shard(tmp_path, "bin")
    with pytest.raises(ValueError, match="found 3: one.safetensors, pytorch_model.bin.index.json"):
        open_state(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.bin",
        "/etc/outside.bin",
        "a/../../outside.bin",
        "sub/inside.bin",
        "..\\outside.bin",
        "C:outside.bin",
        "gs://bucket/outside.bin",
        ".hidden.bin",
        "..",
        "",
        "/dev/stdin",
        "config.json",
        "a\n.bin",
        "a\0.bin",
        ["a.bin"],
        None,
        7,
    ],
)
def test_an_index_that_names_what_is_not_beside_it(tmp_path, name):
    (tmp_path / "inner").mkdir()
    torch_writer.save(tmp_path / "outside.bin", {"w": ONE})
    with pytest.raises(ValueError, match="refused: .* is no weights file beside it"):
        open_state(shard(tmp_path / "inner", "bin", {"w": name}))


def test_shards_that_do_not_fit_their_index(tmp_path):
    first, second = (f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2))
    with pytest.raises(ValueError, match=f"{second}: has no d, x, which .*index.json expects"):
        open_state(shard(tmp_path, "bin", {"a": first, "x": second, "d": second}))
    with pytest.raises(FileNotFoundError, match="absent.bin"):
        open_state(shard(tmp_path, "bin", {"a": "absent.bin", "b": first, "c": second}))
    torch_writer.save(shard(tmp_path, "bin") / second, {"a": TWO, "c": ONE})
    with pytest.raises(ValueError, match=f"{second}: there twice: a"):
        open_state(tmp_path)
    for damaged in ("", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[]", "[" * 99999):
        (tmp_path / "pytorch_model.bin.index.json").write_text(damaged)
        with pytest.raises(ValueError, match="index.json: "):
            open_state(tmp_path)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such file or directory"):
        open_state(tmp_path / "absent")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="model.onnx: not a PyTorch file: an empty file"):
        open_state(tmp_path / "model.onnx")


def test_damaged_safetensors(tmp_path):
    path = tmp_path / "f.safetensors"
    save_file({"a": np.arange(6, dtype=np.float32), "b": np.arange(3)}, path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    changed = [whole[:end] for end in range(0, len(whole), 7)]
    for position in generator.integers(header, size=200):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << generator.integers(8)
        changed.append(bytes(flipped))
    nested = b"[" * 99999
    changed.append(len(nested).to_bytes(8, "little") + nested)
    for content in changed:
        path.write_bytes(content)
        try:
            values(open_state(path))
        except ValueError as error:
            assert str(path) in str(error)
