"""Pairs of one's own, from a folder to an edit, with the small preset."""

import io
import json
import subprocess
import sys

import fabricate_store
import numpy as np
import pytest
from etils import epath
from PIL import Image

from jaxedit.configs import finetune
from jaxedit.data import toybox
from jaxedit.data.toybox.render import render
from jaxedit.train import loop
from jaxedit.train.objectives import registry

INSTRUCTION = "good night"


def make_pair(seed):
    """A toybox scene, and what is to be learnt: night falls, and the toys are tidied away."""
    scene = toybox.make(seed, 0, 0).scene
    empty = scene._replace(background="night", toys=(None,) * len(scene.toys))
    return render(scene), render(empty)


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(tmp_path):
    rows = []
    for i in range(8):
        source, target = map(png, make_pair(i))
        changes = {"source": source, "target": target, "instruction": INSTRUCTION}
        rows.append(fabricate_store.make_record(i, **changes))
    store = fabricate_store.write_store(tmp_path / "mine", rows)
    config = finetune.get_config("tiny")
    config.data.source, config.data.batch_size = str(store), 8
    config.steps, config.log_every, config.sample_every = 12, 3, 0
    config.optim.warmup_steps, config.optim.learning_rate = 2, 5e-3
    config.validate()
    loop.train(config, epath.Path(tmp_path), *registry.build(config))
    found = losses(tmp_path)
    assert len(found) == 4 and found[-1] < 0.7 * found[0], found


def run(*arguments):
    """A command of jaxedit in a process of its own."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_three_commands(tmp_path):
    """Convert, train, edit: a sentence that the model did not know does what the pairs show."""
    for i in range(40):
        for name, pixels in zip(("source", "target"), make_pair(i), strict=True):
            path = tmp_path / "my_pairs" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        text = tmp_path / "my_pairs" / "instruction" / f"{i}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text(INSTRUCTION)
    source, target = make_pair(99)
    Image.fromarray(source).save(tmp_path / "photo.png")
    pairs, store, workdir = (tmp_path / name for name in ("my_pairs", "stores/mine", "runs/mine"))

    run(
        "jaxedit.datasets.convert",
        "--dataset=pairs",
        f"--src={pairs}",
        f"--out={store}",
        "--store_px=64",
    )
    run(
        *("jaxedit.train", "--config=configs/finetune.py:tiny", f"--config.data.source={store}"),
        *("--config.steps=60", "--config.optim.warmup_steps=5", "--config.sample_every=0"),
        *("--config.log_every=10", f"--workdir={workdir}"),
    )
    output = str(tmp_path / "edited.png")
    photo, model = str(tmp_path / "photo.png"), f"--model={workdir / 'export'}"
    run("jaxedit", photo, INSTRUCTION, model, "--output", output)

    found = losses(workdir)
    assert found[-1] < 0.5 * found[0], found
    edited = np.asarray(Image.open(output).convert("RGB"))
    assert distance(edited, target) < 0.3 * distance(source, target)


def distance(a, b):
    return np.abs(a.astype(float) - b).mean()
