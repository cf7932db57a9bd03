"""The command that measures attention: its files, its samples, and what it refuses."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from jaxedit.analyse.__main__ import main
from jaxedit.editor.pipeline import Output
from jaxedit.editor.pipeline_varedit import VAREditPipeline


def run(model, data, out, *options):
    return main(["attention", f"--model={model}", f"--data={data}", f"--out={out}", *options])


def read(out):
    """The numbers, by name."""
    with np.load(out / "attention.npz") as file:
        return dict(file)


def test_toybox_pairs(tiny_model, tmp_path, capsys):
    out = tmp_path / "a"
    options = ("--limit=3", "--rows_per_device=2")  # the second batch is half empty
    assert run(tiny_model, "toybox", out, *options) == 0
    assert capsys.readouterr().out.endswith(f"{out}: attention.npz, attention.png\n")
    found = read(out)
    assert list(found["scales"]) == ["source 4x4", "target 1x1", "target 2x2", "target 4x4"]
    assert list(found["tokens"]) == [16, 1, 4, 16] and found["samples"] == 3
    assert found["mean"].shape == found["standard_error"].shape == (2, 4, 4)  # two layers
    np.testing.assert_allclose(found["mean"].sum(-1), 1, rtol=1e-5)
    assert (found["standard_error"][:, -1] > 0).all()
    with Image.open(out / "attention.png") as picture:
        assert picture.width > 200


def test_samples_without_targets_are_edited(tiny_model, tmp_path, monkeypatch):
    def run_pipeline(pipeline, batch, settings, progress):
        assert batch.edit_mask.all() and not batch.seeds.any()
        return [Output(255 - pixels, ()) for pixels in batch.pixels]

    monkeypatch.setattr(VAREditPipeline, "compile", lambda *arguments: None)
    monkeypatch.setattr(VAREditPipeline, "run", run_pipeline)
    item = {
        "image_path": "0_random/0.jpg",
        "editing_instruction": "make the ball blue",
        "editing_type_id": "0",
        "original_prompt": "a ball",
        "editing_prompt": "a [blue] ball",
        "mask": [0, 9],
    }
    picture = tmp_path / "annotation_images" / item["image_path"]
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (512, 512), "red").save(picture)
    (tmp_path / "mapping_file.json").write_text(json.dumps({"0": item}), encoding="utf-8")
    assert run(tiny_model, tmp_path, tmp_path / "a", "--rows_per_device=2", "--layers=1") == 0
    found = read(tmp_path / "a")
    assert found["samples"] == 1 and np.isfinite(found["mean"]).all()
    assert np.isnan(found["standard_error"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit=0"], "--limit=0: expected 1 or more"),
        (["--layers=2"], "--layers=2: expected 0 ... 1"),
        (["--layers=a"], "'a': expected numbers with commas between"),
        (["--data=nowhere"], "nowhere"),
        (["--model=toy-editar"], "--model=toy-editar: expected VAREdit"),
        (["--out=FILE"], "expected a folder, found a file"),
    ],
)
def test_bad_input(options, message, tiny_model, tmp_path, capsys):
    (tmp_path / "file").touch()
    options = [option.replace("FILE", str(tmp_path / "file")) for option in options]
    assert run(tiny_model, "toybox", tmp_path / "a", *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_matplotlib_is_asked_for_first(tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(tiny_model, "toybox", tmp_path / "a") == 2
    assert "pip install matplotlib" in capsys.readouterr().err
