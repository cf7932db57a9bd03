import functools
import json
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch_writer
from huggingface_hub import constants
from safetensors.numpy import load_file, save, save_file

from jaxedit import progress
from jaxedit.checkpoints import hub, pretrained
from jaxedit.config import OFFICIAL, Release, WeightSource, to_dict
from jaxedit.config.precision import dtype_of
from jaxedit.convert import __main__ as command
from jaxedit.convert.convert import ConversionConfig, convert
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.convert.export import export

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def release(tiny_model, tmp_path_factory):
    """The tiny model as a release: two .pth files, and a directory with the text encoder."""
    folder = tmp_path_factory.mktemp("release")
    export(tiny_model, folder / "exported", None, say=lambda line: None)
    states = {kind: load_file(folder / f"exported/{kind}.safetensors") for kind in PARTS}
    torch_writer.save(folder / "transformer.pth", states["varedit"])
    torch_writer.save(folder / "vae.pth", {"vae": states["bsq"], "step": 3})
    (folder / "t5").mkdir()
    torch_writer.save(folder / "t5/pytorch_model.bin", states["t5"])
    for name in TOKENIZER:
        shutil.copy(tiny_model / name, folder / "t5" / name)
    return folder


PARTS = ("varedit", "bsq", "t5")


@pytest.fixture
def order(release, tiny_model, tmp_path):
    """`order(...)`: all three parts to `dst`, with other fields as given."""

    def make(*src, **fields):
        src = src or ("transformer.pth", "vae.pth", "t5")
        paths = tuple(str(release / name) for name in src)
        fields = {"settings": str(tiny_model), "dst": str(tmp_path / "dst"), **fields}
        return ConversionConfig(src=paths, **{"dtype": "float32", **fields})

    return make


@pytest.fixture
def text_order(order):
    """The same of the text encoder alone, which is quick."""
    return functools.partial(order, "t5", settings="")


def run(order):
    """Convert; returns the lines that it says."""
    lines = []
    convert(order, lines.append)
    return lines


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_three_files_make_an_editor(order, tiny_model, tmp_path):
    lines = run(order())
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


@pytest.fixture
def states(release):
    """The state dicts of the release, by kind."""
    return {kind: load_file(release / f"exported/{kind}.safetensors") for kind in PARTS}


def lightning(arrays, average=None):
    """A checkpoint of a training run: weights, their average and a loss, under prefixes."""
    state = {f"model.{key}": array for key, array in arrays.items()}
    state |= {f"ema_model.{key}": array for key, array in (average or {}).items()}
    state |= {"loss_fn.net.slice1.weight": np.ones((3, 3), np.float32)}
    settings = torch_writer.Made("omegaconf.dictconfig", "DictConfig", (), {"_content": {"a": 1}})
    beside = {"epoch": 3, "callbacks": {"x": torch_writer.Made("pathlib", "PosixPath", ("/a",))}}
    beside |= {"optimizer_states": [{"state": {0: {"exp_avg": np.ones(3)}}}]}
    return {"state_dict": state, "hyper_parameters": settings, **beside}


def test_checkpoints_of_training_runs(order, states, tiny_model, tmp_path):
    for kind, name in (("varedit", "run.tar"), ("bsq", "vae.ckpt")):
        torch_writer.save(tmp_path / name, lightning(states[kind]))
    run(order(str(tmp_path / "run.tar"), str(tmp_path / "vae.ckpt"), "t5"))
    made = (tmp_path / "dst/model.safetensors").read_bytes()
    assert made == (tiny_model / "model.safetensors").read_bytes()


def test_the_average_of_the_parts_that_have_one(order, states, tmp_path):
    doubled = {key: 2 * array for key, array in states["varedit"].items()}
    torch_writer.save(tmp_path / "run.ckpt", lightning(states["varedit"], doubled))
    lines = run(order(str(tmp_path / "run.ckpt"), "vae.pth", "t5", ema=True))
    said = next(line for line in lines if line.startswith("moving average"))
    assert said.startswith("moving average of varedit; of ") and "vae.pth" in said
    assert said.endswith("t5, which holds none, the weights as they are")
    run(order(dst=str(tmp_path / "plain")))
    average = load_file(tmp_path / "dst/model.safetensors")
    for path, array in load_file(tmp_path / "plain/model.safetensors").items():
        factor = 2 if path.startswith("transformer") else 1
        np.testing.assert_array_equal(average[path], factor * array)


@pytest.mark.parametrize("name", ["t5.pth", "t5.safetensors"])
def test_8_bit_floats_become_the_dtype_that_is_asked_for(order, states, tiny_model, tmp_path, name):
    half = {key: array.astype(ml_dtypes.float8_e4m3fn) for key, array in states["t5"].items()}
    if name.endswith(".pth"):
        torch_writer.save(tmp_path / name, half)
    else:
        (tmp_path / name).write_bytes(save(half))
    run(order(str(tmp_path / name), settings="", tokenizer=str(tiny_model)))
    whole = {p: a for p, a in load_file(tiny_model / "model.safetensors").items() if p[:3] == "t5/"}
    found = load_file(tmp_path / "dst/model.safetensors")
    assert found.keys() == whole.keys()
    for path, array in whole.items():
        assert found[path].dtype == np.float32
        rounded = array.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        np.testing.assert_array_equal(found[path], rounded)


def test_several_networks_under_prefixes(order, states, tmp_path):
    both = {f"text.{key}": array for key, array in states["t5"].items()}
    both |= {f"first_stage.{key}": array for key, array in states["bsq"].items()}
    torch_writer.save(tmp_path / "both.pt", both)
    message = "several networks at once: bsq under first_stage., t5 under text.; expected one"
    with pytest.raises(ValueError, match=message):
        run(order(str(tmp_path / "both.pt"), settings=""))
    run(order(str(tmp_path / "both.pt"), settings="", kind="bsq"))
    assert pretrained.read_config(tmp_path / "dst").model_type == "bsq"


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
def test_complex_weights_are_refused_by_name(order, states, tmp_path, kind):
    (key, *_) = states["t5"]
    torch_writer.save(tmp_path / "f.pt", {**states["t5"], key: states["t5"][key].astype(kind)})
    with pytest.raises(ValueError, match=f"f.pt: .*complex keys: {key}"):
        run(order(str(tmp_path / "f.pt"), settings=""))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vae.pth", r"\(bsq: an image .*jaxedit.convert --src=.*vae.pth --dst=DIR$"),
        ("t5", r"\(t5: a T5 text encoder\).*jaxedit.convert --src=.*/t5 --dst=DIR$"),
        (
            "transformer.pth",
            r"transformer.pth --src=BSQ --src=T5 --dst=DIR \(BSQ: infinity-vae-d32",
        ),
        ("exported", "found 3: .*; a model is a folder made by .* --src=.*exported --dst=DIR"),
    ],
)
def test_released_weights_are_no_model_yet(release, name, message):
    with pytest.raises(ValueError, match=message) as told:
        ensure_converted(release / name)
    assert "\n" not in str(told.value)


def test_a_network_alone_is_a_model_of_its_own(order, tmp_path):
    for source, kind in (("vae.pth", "bsq"), ("t5", "t5")):
        run(order(source, settings="", dst=str(tmp_path / kind)))
        assert pretrained.read_config(tmp_path / kind).model_type == kind
    assert (tmp_path / "t5/tokenizer.json").exists()
    parts = (str(tmp_path / "bsq"), str(tmp_path / "t5"))
    whole = order("transformer.pth")
    run(
        ConversionConfig(
            src=(*whole.src, *parts), dst=whole.dst, dtype="float32", settings=whole.settings
        )
    )
    assert pretrained.is_pretrained(tmp_path / "dst")


def test_bfloat16_is_what_runs(order, tmp_path):
    run(order(dtype="bfloat16"))
    weights = load_file(tmp_path / "dst/model.safetensors")
    kinds = {path: dtype_of(path, "varedit", "bfloat16") for path in weights}
    assert kinds == {path: array.dtype.name for path, array in weights.items()}


def test_the_same_order_again_is_done_already(text_order, tmp_path):
    run(text_order())
    before = contents(tmp_path / "dst")
    done = [f"{tmp_path / 'dst'}: complete already, from the same files"]
    assert run(text_order()) == done
    record = json.loads(before["conversion.json"])
    del record["config"]["fit"]  # as earlier versions wrote it
    (tmp_path / "dst/conversion.json").write_text(json.dumps(record))
    assert run(text_order()) == done
    (tmp_path / "dst/conversion.json").write_bytes(before["conversion.json"])
    with pytest.raises(FileExistsError, match="holds another model; --overwrite replaces it"):
        run(text_order(dtype="float16"))
    assert contents(tmp_path / "dst") == before
    run(text_order(dtype="float16", overwrite=True))
    assert contents(tmp_path / "dst") != before
    assert [path.name for path in tmp_path.iterdir()] == ["dst"]


def test_what_is_not_ours_is_never_replaced(order, tmp_path):
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst/thesis.tex").touch()
    with pytest.raises(FileExistsError, match="is not a model of ours"):
        run(order(overwrite=True))
    with pytest.raises(FileExistsError, match="expected a new directory"):
        export("toy-varedit", tmp_path / "dst", None)
    assert list(contents(tmp_path / "dst")) == ["thesis.tex"]


def test_a_full_disk_leaves_nothing(text_order, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="dst: not written: File too large") as error:
            run(text_order())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_killed_conversion_starts_again(text_order, tmp_path):
    code = f"""
import os, signal
from jaxedit.convert.convert import ConversionConfig, convert
from jaxedit.checkpoints import safetensors_file
safetensors_file.is_finite = lambda array: os.kill(os.getpid(), signal.SIGKILL)
convert({text_order()!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name[:8] for path in tmp_path.iterdir()] == [".dst.new"]
    run(text_order())
    assert [path.name for path in tmp_path.iterdir()] == ["dst"]


def test_values_that_are_not_finite_are_not_converted(order, release, tmp_path):
    state = load_file(release / "exported/bsq.safetensors")
    state["decoder.conv_in.conv.bias"][1] = np.nan
    save_file(state, tmp_path / "vae.safetensors")
    with pytest.raises(ValueError, match="not finite in bsq/decoder/conv_in/bias"):
        run(ConversionConfig(src=(str(tmp_path / "vae.safetensors"),), dst=str(tmp_path / "dst")))
    assert [path.name for path in tmp_path.iterdir()] == ["vae.safetensors"]


def test_keys_that_are_wrong_are_listed(order, release, tmp_path):
    state = load_file(release / "exported/bsq.safetensors")
    del state["decoder.conv_in.conv.bias"], state["encoder.conv_out.conv.bias"]
    save_file(state, tmp_path / "vae.safetensors")
    with pytest.raises(ValueError) as error:
        run(ConversionConfig(src=(str(tmp_path / "vae.safetensors"),), dst=str(tmp_path / "dst")))
    message = str(error.value)
    assert "decoder.conv_in.conv.bias" in message and "encoder.conv_out.conv.bias" in message
    assert message.startswith(str(tmp_path / "vae.safetensors")) and "\n" not in message


def test_a_release_is_converted_when_it_is_first_used(release, tiny_model, tmp_path, monkeypatch):
    folder = tmp_path / "hub/models--org--weights"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0" * 40)
    shutil.copytree(release, folder / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    files = {"varedit": "transformer.pth", "bsq": "vae.pth", "t5": "t5"}
    sources = tuple(WeightSource(kind, "org/weights", file, "mit") for kind, file in files.items())
    config = pretrained.read_config(tiny_model)
    monkeypatch.setitem(OFFICIAL, "tiny-1", Release(config, sources))
    directory = ensure_converted("tiny-1")
    assert directory == tmp_path / "home/.cache/jaxedit/models/tiny-1"
    assert to_dict(pretrained.read_config(directory)) == to_dict(config)
    assert "transformer.pth (licence: mit)" in (directory / "README.md").read_text()
    shutil.rmtree(folder)
    assert ensure_converted("tiny-1") == directory == hub.resolve("tiny-1")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--src is missing"),
        (["--src=absent.pth"], "--dst is missing"),
        (["--src=absent.pth", "--dst=d"], "'absent.pth': no such file or directory"),
        (["--src=list.txt", "--dst=d"], "list.txt: not a PyTorch file: a text, not the weights: x"),
        (["--src=vae.pth", "--dst=d", "--kind=vq"], "--kind=vq: vae.pth holds bsq by its shapes"),
        (["--src=vae.pth", "--dst=d", "--kind=x"], "--kind=x: expected one of auto, varedit"),
        (["--src=vae.pth", "--dst=d", "--settings=editar-512"], "a bsq alone has no such settings"),
        (["--src=vae.pth", "--dst=d", "--dtype=int8"], "argument --dtype: invalid choice: 'int8'"),
        (["--src=vae.pth", "--src=vae.pth", "--dst=d"], "vae.pth and vae.pth both hold bsq"),
        (["--src=vae.pth", "--src=t5", "--dst=d"], "bsq, t5 make no model: expected one of them"),
        (["--src=vae.pth", "--dst=list.txt"], "list.txt: exists and is not a model of ours"),
        (["--src=vae.pth", "--dst=d", "--ema"], "vae.pth: holds no moving average of weights"),
        (["--src=exported", "--dst=d"], "exported: expected one model, found 3: bsq.safetensors"),
        (["--src=transformer.pth", "--dst=d"], "an editor also needs a bsq: --src=infinity-vae-"),
        (
            ["--src=transformer.pth", "--dst=d", "--settings=varedit-2b-512"],
            "--settings=varedit-2b-512 does not fit transformer.pth: depth=32, but 2 in the file",
        ),
        (["--src=transformer.pth", "--dst=d", "--settings=x"], "'x': expected a bundled name"),
        (["--export=torch", "--src=t5", "--dst=d"], "t5: weights as they were released"),
        (["--export=torch", "--src=a", "--src=b", "--dst=d"], "expected one model of ours"),
        (["--src=me/none", "--dst=d"], "the Hub was not reached (HF_HUB_OFFLINE is set)"),
        (["--check", "t5"], "t5: weights as they were released"),
        (["--check", "absent"], "'absent': expected a bundled name"),
        (["--check", "toy-varedit", "--output", "a.jpg"], "expected a name ending in .png"),
        (["--check", "toy-varedit", "--picture", "list.txt"], "list.txt: not a readable picture"),
        (["--frob"], "--frob: no such argument"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    release, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for path in release.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "list.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not pathlib.Path("d").exists()


def test_the_command_converts_and_exports(release, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0)
    whole = tmp_path / "t5"
    assert command.main([f"--src={release}/t5", f"--dst={whole}", "--dtype=f16"]) == 0
    assert command.main([f"--src={whole}", f"--dst={tmp_path}/out", "--export=torch"]) == 0
    found = load_file(tmp_path / "out/t5.safetensors")
    original = load_file(release / "exported/t5.safetensors")
    assert found.keys() == original.keys()
    for key, array in original.items():
        assert np.array_equal(found[key], array.astype(np.float16))
    out, err = capsys.readouterr()
    assert "writing: " in err and "t5: " in err and "--check" in out
    assert json.loads((tmp_path / "out/config.json").read_text())["layer_norm_epsilon"] == 1e-6


def test_help_and_list_are_quick_and_load_no_jax():
    code = (
        "import sys; from jaxedit.convert import __main__ as m; assert m.main(['--help']) == 0; "
        "assert m.main(['--list']) == 0; "
        "assert not {'jax', 'numpy', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in out.stdout for name in OFFICIAL)
    for option in ("src", "dst", "dtype", "kind", "settings", "export", "check", "picture"):
        assert f"--{option}" in out.stdout
