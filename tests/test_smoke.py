"""The smoke set: what users do first, run on stacks that are not the suite's own.

`launch/test_stacks.sh` runs it on the newest and the oldest supported jax.
"""

import json
import os
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from jaxedit import __main__ as edit
from jaxedit.convert import __main__ as convert
from jaxedit.data import toybox
from jaxedit.datasets.convert import __main__ as convert_data
from jaxedit.train import __main__ as train

pytestmark = pytest.mark.smoke

ASSETS = pathlib.Path(edit.__file__).parent / "assets"
SCENE = str(ASSETS / "scene.png")


@pytest.mark.parametrize(
    ("model", "method"),
    [("toy-varedit", "varedit"), ("toy-editar", "editar"), ("toy-editar", "editar+erec")],
)
def test_an_edit_and_its_replay(model, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "make the ball blue"
    options = [f"--model={model}", f"--method={method}", "--keep_size"]
    assert edit.main([SCENE, words, *options]) == 0
    before, after = (np.asarray(Image.open(name), int) for name in (SCENE, "edited.png"))
    assert before.shape == after.shape and 0 < np.abs(after - before).mean() < 40
    assert edit.main([SCENE, "--from_png=edited.png", "--output=again.png"]) == 0


@pytest.fixture
def quickly_compiled():
    """Steps of training are the largest programs: to optimise one takes a minute."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    usual = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0"  # see conftest.py
    jax.config.update("jax_disable_most_optimizations", usual)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("config", ["var_sar", "editar", "finetune"])
def test_training_and_a_resume(config, tmp_path):
    arguments = ["train", f"--config=configs/{config}.py:tiny", f"--workdir={tmp_path}/run"]
    short = {"data.batch_size": 8, "log_every": 1, "sample_every": 0, "checkpoint_every": 4}
    short |= {"eval_benchmark": "", "best_metric": "val/loss"}  # edits compile for long
    if config == "finetune":
        short |= {"data.source": store_of_pairs(tmp_path)}
    for steps in (4, 6):
        settings = [f"--config.{name}={value}" for name, value in {**short, "steps": steps}.items()]
        assert train.main([*arguments, *settings]) == 0
    lines = (tmp_path / "run/metrics.jsonl").read_text("utf-8").splitlines()
    reports = [json.loads(line) for line in lines]
    validated = [report["step"] for report in reports if "val/loss" in report]
    assert validated == ([] if config == "finetune" else [4, 6])
    reports = [report for report in reports if "loss" in report]
    assert [report["step"] for report in reports] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(report["loss"]) for report in reports)
    assert "resuming after step 4" in (tmp_path / "run/log.txt").read_text("utf-8")
    assert (tmp_path / "run/export/model.safetensors").exists()


def store_of_pairs(directory):
    """Eight pairs of one's own, from a folder to a store; returns where that is."""
    pairs, store = directory / "pairs", directory / "store"
    for name in ("source", "target", "instruction"):
        (pairs / name).mkdir(parents=True)
    for i in range(8):
        pair = toybox.make(0, i, 0)
        Image.fromarray(pair.source).save(pairs / f"source/{i}.png")
        Image.fromarray(pair.target).save(pairs / f"target/{i}.png")
        (pairs / f"instruction/{i}.txt").write_text(pair.instruction, "utf-8")
    command = ["--dataset=pairs", f"--src={pairs}", f"--out={store}", "--workers=1"]
    assert convert_data.main(command) == 0
    return store


def test_dry_runs(capsys):
    assert edit.main(["--model=varedit-8b-512", "--dry_run", "--memory_gb=80"]) == 0
    assert train.main(["train", "--config=configs/var_sar.py:tiny", "--dry_run"]) == 0
    assert capsys.readouterr().out.count("fits: needs") == 2


def test_a_conversion_there_and_back(tmp_path):
    there, back = tmp_path / "original", tmp_path / "back"
    assert convert.main(["--export=torch", "--src=toy-varedit", f"--dst={there}"]) == 0
    sources = [f"--src={path}" for path in sorted(there.glob("*.safetensors"))]
    settings = ["--settings=toy-varedit", f"--tokenizer={ASSETS}/toy-tokenizer", "--dtype=f16"]
    assert convert.main([*sources, *settings, f"--dst={back}"]) == 0
    ours, again = (load_file(path / "model.safetensors") for path in (ASSETS / "toy-varedit", back))
    assert ours.keys() == again.keys()
    assert all(np.array_equal(ours[name], again[name]) for name in ours)
