"""Models by any name, converted first."""

import shutil

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save

from jaxedit import assets
from jaxedit.checkpoints import hub, pretrained
from jaxedit.config import OFFICIAL, Release, WeightSource, to_dict
from jaxedit.convert.ensure_converted import ensure_converted


def test_a_model_of_ours_is_where_its_name_says():
    assert ensure_converted("toy-varedit") == assets.ROOT / "toy-varedit"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "a web page .*; a model is a folder made by .*convert --src=.*my file.pth'"),
        (b"", "an empty file .*; a model is a folder"),
        (save({"w": np.ones(3)}), "not a checkpoint that jaxedit knows: .*; a model is a folder"),
    ],
)
def test_other_files_are_no_models(tmp_path, data, message):
    (tmp_path / "my file.pth").write_bytes(data)
    with pytest.raises(ValueError, match=message) as told:
        ensure_converted(str(tmp_path / "my file.pth"))
    assert "\n" not in str(told.value)


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
