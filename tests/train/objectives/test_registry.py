import copy
import json

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import EDITAR_PRESETS, PRESETS, DataConfig, TrainConfig
from jaxedit.data import toybox
from jaxedit.data.transforms import Fit, fit_of, to_square
from jaxedit.train.objectives import registry
from jaxedit.train.objectives.objective import Objective


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Batch and examples of a model's run on one pair of pictures that are not square."""
    for name, value in (("a.png", 10), ("b.png", 200)):
        ramp = np.tile(np.arange(50, dtype=np.uint8)[:, None] + value, (30, 1, 3))
        Image.fromarray(ramp).save(tmp_path / name)
    row = {"source": "a.png", "target": "b.png", "instruction": "remove it"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    monkeypatch.setattr(registry, "make_objective", lambda config: Objective())  # needs weights

    def call(model, own=""):
        data = DataConfig(
            source=str(tmp_path / "pairs.jsonl"),
            image_size=16,
            batch_size=1,
            mixture=(("edit", 1.0),),
        )
        config = TrainConfig(model=copy.deepcopy(model), data=data, sample_rows=1)
        config.varedit.fit = own
        _, (batches_from, examples, *_) = registry.build(config)
        return next(batches_from(0, range(1))), examples.batch

    return call


@pytest.mark.parametrize(
    ("model", "own", "fit"),
    [
        (EDITAR_PRESETS["tiny"], "", Fit("crop", "editar")),
        (PRESETS["tiny"], "", Fit("pad", "varedit")),
        (PRESETS["tiny"], "crop", Fit("crop", "varedit")),
    ],
)
def test_training_sees_the_squares_that_editing_sees(build, tmp_path, model, own, fit):
    assert fit_of(model, own) == fit
    batch, examples = build(model, own)
    for name, found in (("a.png", "source"), ("b.png", "target")):
        expected = np.asarray(to_square(Image.open(tmp_path / name), 16, fit))
        for pictures in (getattr(batch, found), getattr(examples, found)):
            np.testing.assert_array_equal(pictures[0], expected)


def test_validation_costs_nothing_when_off(monkeypatch):
    monkeypatch.setattr(registry, "make_objective", lambda config: Objective())
    config = TrainConfig(model=copy.deepcopy(PRESETS["tiny"]), sample_rows=2)
    _, data = registry.build(config)
    assert data.validation is data.validation_examples is None
    config.eval_every = 5
    _, data = registry.build(config)
    assert len(data.validation) == config.eval_batches * config.data.batch_size
    assert data.validation_examples is None  # the other sheet has rows of the test split already
    assert data.benchmark is None
    config.eval_benchmark = "toybox"
    assert len(registry.build(config)[1].benchmark) == config.eval_samples


def test_a_source_without_rows_of_validation_trains_without(monkeypatch, caplog):
    monkeypatch.setattr(registry, "make_objective", lambda config: Objective())
    monkeypatch.setattr(registry, "make_loader", None)
    monkeypatch.setattr(registry, "example_rows", lambda *_: toybox_rows(2))
    config = TrainConfig(model=copy.deepcopy(PRESETS["tiny"]), sample_rows=2, eval_every=5)
    config.data.source = "stores/mine"
    with caplog.at_level("INFO"):
        _, data = registry.build(config)
    assert data.validation is None and "data.validation names no rows" in caplog.text


def toybox_rows(count):
    return [toybox.make(0, i, 0) for i in range(count)]


def test_rows_of_validation_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "make_objective", lambda config: Objective())
    rows = []
    for i in range(40):
        Image.new("RGB", (16, 16), (i, i, i)).save(tmp_path / f"{i}.png")
        row = {"source": f"{i}.png", "target": f"{i}.png", "instruction": "keep it"}
        rows.append(json.dumps(row))
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows))
    data = DataConfig(source=str(tmp_path / "pairs.jsonl"), image_size=16, validation="0.2")
    data.mixture = (("edit", 1.0),)
    config = TrainConfig(model=copy.deepcopy(PRESETS["tiny"]), data=data, eval_every=5)
    _, data = registry.build(config)
    first = data.validation[0]
    np.testing.assert_array_equal(data.validation_examples.batch.target[0], first.target)
    assert not (data.examples.batch.target == first.target).all((1, 2, 3)).any()
