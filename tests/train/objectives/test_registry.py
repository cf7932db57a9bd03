import copy
import json

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import EDITAR_PRESETS, PRESETS, DataConfig, TrainConfig
from jaxedit.data.transforms import Fit, fit_of, to_square
from jaxedit.train.objectives import registry


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Batch and examples of a model's run on one pair of pictures that are not square."""
    for name, value in (("a.png", 10), ("b.png", 200)):
        ramp = np.tile(np.arange(50, dtype=np.uint8)[:, None] + value, (30, 1, 3))
        Image.fromarray(ramp).save(tmp_path / name)
    row = {"source": "a.png", "target": "b.png", "instruction": "remove it"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    monkeypatch.setattr(registry, "make_objective", lambda config: None)  # needs weights

    def call(model, own=""):
        data = DataConfig(
            source=str(tmp_path / "pairs.jsonl"),
            image_size=16,
            batch_size=1,
            mixture=(("edit", 1.0),),
        )
        config = TrainConfig(model=copy.deepcopy(model), data=data, sample_rows=1)
        config.varedit.fit = own
        _, batches_from, examples = registry.build(config)
        return next(batches_from(0, range(1))), examples

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
