"""Conversions of releases and of checkpoints of training runs."""

import functools
import json
import resource
import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch_writer
from safetensors.numpy import load_file, save, save_file

from jaxedit.checkpoints import pretrained
from jaxedit.config import LPIPSConfig, to_dict
from jaxedit.config.precision import dtype_of
from jaxedit.convert.convert import ConversionConfig, convert
from jaxedit.convert.export import export

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def conversion(release, tiny_model, tmp_path):
    """`conversion(...)`: all three parts to `dst`, with other fields as given."""

    def make(*src, **fields):
        src = src or ("transformer.pth", "vae.pth", "t5")
        paths = tuple(str(release / name) for name in src)
        fields = {"settings": str(tiny_model), "dst": str(tmp_path / "dst"), **fields}
        return ConversionConfig(src=paths, **{"dtype": "float32", **fields})

    return make


@pytest.fixture
def text_conversion(conversion):
    """The same conversion of the text encoder alone, which is quick."""
    return functools.partial(conversion, "t5", settings="")


def run(conversion):
    """Convert; return the lines of its report."""
    lines = []
    convert(conversion, lines.append)
    return lines


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_three_files_make_an_editor(conversion, tiny_model, tmp_path):
    lines = run(conversion())
    made = contents(tmp_path / "dst")
    for name in ("model.safetensors", *TOKENIZER):
        assert made[name] == (tiny_model / name).read_bytes()
    config = pretrained.read_config(tmp_path / "dst")
    assert to_dict(config) == to_dict(pretrained.read_config(tiny_model))
    assert f"settings of inference: {tiny_model}" in lines
    assert "vae.pth from a file of its owner" in made["README.md"].decode()


def test_a_model_of_next_tokens_survives_the_way_out_and_back(tiny_editar, tmp_path):
    run(ConversionConfig(src=(str(tiny_editar),), dst=str(tmp_path / "first")))
    export(tmp_path / "first", tmp_path / "out", None, say=lambda line: None)
    files = [str(tmp_path / f"out/{kind}.safetensors") for kind in ("editar", "vq", "t5")]
    back = ConversionConfig(
        src=tuple(files),
        dst=str(tmp_path / "back"),
        settings=str(tmp_path / "first"),
        tokenizer="toy-tokenizer",
    )
    run(back)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    again = tmp_path / "again"
    export(tmp_path / "back", again, None, say=lambda line: None)
    assert contents(again) == contents(tmp_path / "out")


def lightning(arrays, average=None):
    """A checkpoint of a training run: weights, their average and a loss, under prefixes."""
    state = {f"model.{key}": array for key, array in arrays.items()}
    state |= {f"ema_model.{key}": array for key, array in (average or {}).items()}
    state |= {"loss_fn.net.slice1.weight": np.ones((3, 3), np.float32)}
    settings = torch_writer.Made("omegaconf.dictconfig", "DictConfig", (), {"_content": {"a": 1}})
    beside = {"epoch": 3, "callbacks": {"x": torch_writer.Made("pathlib", "PosixPath", ("/a",))}}
    beside |= {"optimizer_states": [{"state": {0: {"exp_avg": np.ones(3)}}}]}
    return {"state_dict": state, "hyper_parameters": settings, **beside}


def test_checkpoints_of_training_runs(conversion, states, tiny_model, tmp_path):
    for kind, name in (("varedit", "run.tar"), ("bsq", "vae.ckpt")):
        torch_writer.save(tmp_path / name, lightning(states[kind]))
    run(conversion(str(tmp_path / "run.tar"), str(tmp_path / "vae.ckpt"), "t5"))
    made = (tmp_path / "dst/model.safetensors").read_bytes()
    assert made == (tiny_model / "model.safetensors").read_bytes()


def test_the_average_of_the_parts_that_have_one(conversion, states, tmp_path):
    doubled = {key: 2 * array for key, array in states["varedit"].items()}
    torch_writer.save(tmp_path / "run.ckpt", lightning(states["varedit"], doubled))
    lines = run(conversion(str(tmp_path / "run.ckpt"), "vae.pth", "t5", ema=True))
    said = next(line for line in lines if line.startswith("moving average"))
    assert said.startswith("moving average of varedit; of ") and "vae.pth" in said
    assert said.endswith("t5, which holds none, the weights as they are")
    run(conversion(dst=str(tmp_path / "plain")))
    average = load_file(tmp_path / "dst/model.safetensors")
    for path, array in load_file(tmp_path / "plain/model.safetensors").items():
        factor = 2 if path.startswith("transformer") else 1
        np.testing.assert_array_equal(average[path], factor * array)


@pytest.mark.parametrize("name", ["t5.pth", "t5.safetensors"])
def test_8_bit_floats_become_the_dtype_that_is_asked_for(
    conversion, states, tiny_model, tmp_path, name
):
    half = {key: array.astype(ml_dtypes.float8_e4m3fn) for key, array in states["t5"].items()}
    if name.endswith(".pth"):
        torch_writer.save(tmp_path / name, half)
    else:
        (tmp_path / name).write_bytes(save(half))
    run(conversion(str(tmp_path / name), settings="", tokenizer=str(tiny_model)))
    whole = {p: a for p, a in load_file(tiny_model / "model.safetensors").items() if p[:3] == "t5/"}
    found = load_file(tmp_path / "dst/model.safetensors")
    assert found.keys() == whole.keys()
    for path, array in whole.items():
        assert found[path].dtype == np.float32
        rounded = array.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        np.testing.assert_array_equal(found[path], rounded)


def test_several_networks_under_prefixes(conversion, states, tmp_path):
    both = {f"text.{key}": array for key, array in states["t5"].items()}
    both |= {f"first_stage.{key}": array for key, array in states["bsq"].items()}
    torch_writer.save(tmp_path / "both.pt", both)
    message = "several networks at once: bsq under first_stage., t5 under text.; expected one"
    with pytest.raises(ValueError, match=message):
        run(conversion(str(tmp_path / "both.pt"), settings=""))
    run(conversion(str(tmp_path / "both.pt"), settings="", kind="bsq"))
    assert pretrained.read_config(tmp_path / "dst").model_type == "bsq"


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
def test_complex_weights_are_refused_by_name(conversion, states, tmp_path, kind):
    (key, *_) = states["t5"]
    torch_writer.save(tmp_path / "f.pt", {**states["t5"], key: states["t5"][key].astype(kind)})
    with pytest.raises(ValueError, match=f"f.pt: .*complex keys: {key}"):
        run(conversion(str(tmp_path / "f.pt"), settings=""))


def test_a_network_alone_is_a_model_of_its_own(conversion, tmp_path):
    for source, kind in (("vae.pth", "bsq"), ("t5", "t5")):
        run(conversion(source, settings="", dst=str(tmp_path / kind)))
        assert pretrained.read_config(tmp_path / kind).model_type == kind
    assert (tmp_path / "t5/tokenizer.json").exists()
    parts = (str(tmp_path / "bsq"), str(tmp_path / "t5"))
    whole = conversion("transformer.pth")
    run(
        ConversionConfig(
            src=(*whole.src, *parts), dst=whole.dst, dtype="float32", settings=whole.settings
        )
    )
    assert pretrained.is_pretrained(tmp_path / "dst")


def test_the_two_files_of_lpips(golden, tmp_path):
    arrays, _ = golden("metrics_lpips")
    backbone = {key: array for key, array in arrays.items() if key.startswith("features")}
    backbone["classifier.1.bias"] = np.zeros(1000, np.float32)
    weights = {key: array for key, array in arrays.items() if key.startswith("lin")}
    for name, state in (("squeezenet1_1", backbone), ("squeeze", weights)):
        torch_writer.save(tmp_path / f"{name}.pth", state)
    files = [str(tmp_path / f"{name}.pth") for name in ("squeeze", "squeezenet1_1")]
    run(ConversionConfig(src=tuple(files), dst=str(tmp_path / "dst")))
    config, params, _ = pretrained.load_pretrained(tmp_path / "dst")
    assert config.lpips == LPIPSConfig(backbone="squeeze")
    expand = params["lpips"]["squeeze"]["fire_9"]["expand3x3"]["kernel"]
    expected = arrays["features.9.expand3x3.weight"].transpose(2, 3, 1, 0).astype(np.float32)
    np.testing.assert_array_equal(expand, expected, strict=True)  # exact, and float32
    with pytest.raises(ValueError, match="squeezenet1_1.pth: missing keys: lin0.model.1.weight, "):
        run(ConversionConfig(src=(files[1],), dst=str(tmp_path / "half")))
    with pytest.raises(ValueError, match="both hold lpips"):
        run(ConversionConfig(src=(files[1], files[1]), dst=str(tmp_path / "twice")))


def test_bfloat16_is_what_runs(conversion, tmp_path):
    run(conversion(dtype="bfloat16"))
    weights = load_file(tmp_path / "dst/model.safetensors")
    kinds = {path: dtype_of(path, "varedit", "bfloat16") for path in weights}
    assert kinds == {path: array.dtype.name for path, array in weights.items()}


def test_the_same_order_again_is_done_already(text_conversion, tmp_path):
    run(text_conversion())
    before = contents(tmp_path / "dst")
    done = [f"{tmp_path / 'dst'}: complete already, from the same files"]
    assert run(text_conversion()) == done
    record = json.loads(before["conversion.json"])
    del record["config"]["fit"]  # as earlier versions wrote it
    (tmp_path / "dst/conversion.json").write_text(json.dumps(record))
    assert run(text_conversion()) == done
    (tmp_path / "dst/conversion.json").write_bytes(before["conversion.json"])
    with pytest.raises(FileExistsError, match="holds another model; --overwrite replaces it"):
        run(text_conversion(dtype="float16"))
    assert contents(tmp_path / "dst") == before
    run(text_conversion(dtype="float16", overwrite=True))
    assert contents(tmp_path / "dst") != before
    assert [path.name for path in tmp_path.iterdir()] == ["dst"]


def test_what_is_not_ours_is_never_replaced(conversion, tmp_path):
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst/thesis.tex").touch()
    with pytest.raises(FileExistsError, match="is not a pretrained directory"):
        run(conversion(overwrite=True))
    with pytest.raises(FileExistsError, match="expected a new directory"):
        export("toy-varedit", tmp_path / "dst", None)
    assert list(contents(tmp_path / "dst")) == ["thesis.tex"]


def test_a_full_disk_leaves_nothing(text_conversion, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="dst: not written: File too large") as error:
            run(text_conversion())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_killed_conversion_starts_again(text_conversion, tmp_path):
    code = f"""
import os, signal
from jaxedit.convert.convert import ConversionConfig, convert
from jaxedit.checkpoints import safetensors_file
safetensors_file.is_finite = lambda array: os.kill(os.getpid(), signal.SIGKILL)
convert({text_conversion()!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name[:8] for path in tmp_path.iterdir()] == [".dst.new"]
    run(text_conversion())
    assert [path.name for path in tmp_path.iterdir()] == ["dst"]


def test_values_that_are_not_finite_are_not_converted(conversion, release, tmp_path):
    state = load_file(release / "exported/bsq.safetensors")
    state["decoder.conv_in.conv.bias"][1] = np.nan
    save_file(state, tmp_path / "vae.safetensors")
    with pytest.raises(ValueError, match="not finite in bsq/decoder/conv_in/bias"):
        run(ConversionConfig(src=(str(tmp_path / "vae.safetensors"),), dst=str(tmp_path / "dst")))
    assert [path.name for path in tmp_path.iterdir()] == ["vae.safetensors"]


def test_keys_that_are_wrong_are_listed(conversion, release, tmp_path):
    state = load_file(release / "exported/bsq.safetensors")
    del state["decoder.conv_in.conv.bias"], state["encoder.conv_out.conv.bias"]
    save_file(state, tmp_path / "vae.safetensors")
    with pytest.raises(ValueError) as error:
        run(ConversionConfig(src=(str(tmp_path / "vae.safetensors"),), dst=str(tmp_path / "dst")))
    message = str(error.value)
    assert "decoder.conv_in.conv.bias" in message and "encoder.conv_out.conv.bias" in message
    assert message.startswith(str(tmp_path / "vae.safetensors")) and "\n" not in message
