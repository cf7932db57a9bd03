import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from jaxedit.config import DataConfig, OptimConfig, TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.train import loop
from jaxedit.train.metrics import TrainingDiverged

SIZE = 4


class Line:
    """Fits target = source @ w + b; with noise from the key, so that keys matter."""

    def __init__(self, poison_at=-1):
        self.poison_at = poison_at

    def init(self, key):
        kernel = jax.random.normal(key, (3, 3))
        return {"transformer": {"head": {"kernel": kernel, "bias": jnp.zeros(3)}}}

    def frozen(self):
        return {"bsq": {"offset": jnp.ones(3)}}

    def loss(self, params, frozen, batch, key, step):
        head = params["transformer"]["head"]
        x, y = batch.source / 255.0, batch.target / 255.0
        x = x + 0.01 * jax.random.normal(key, x.shape)
        out = x @ head["kernel"] + jnp.broadcast_to(head["bias"] + frozen["bsq"]["offset"], x.shape)
        loss = jnp.mean((out - y) ** 2) * jnp.where(step == self.poison_at, jnp.nan, 1.0)
        return loss, {"mae": jnp.mean(jnp.abs(out - y))}

    def sheet(self, params, frozen, batch, key):
        return np.stack([np.asarray(batch.source), np.asarray(batch.target)], axis=1)

    def export(self, params, directory):
        path = epath.Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        (path / "weights.json").write_text(json.dumps(jax.tree.map(lambda x: x.tolist(), params)))


def batches_from(step):
    while True:
        yield rows(step)
        step += 1


def rows(step):
    random = np.random.default_rng(step)
    source = random.integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    ids = np.zeros((8, 2), np.int32)
    return EditBatch(source, 255 - source, ids, ids == 0, None)


def make_config(**changes):
    optim = OptimConfig(learning_rate=0.05, warmup_steps=2, clip_norm=1.0)
    values = {"steps": 6, "log_every": 2, "checkpoint_every": 2, "sample_every": 3} | changes
    config = TrainConfig(optim=optim, ema_decay=0.9, data=DataConfig(batch_size=8), **values)
    return config


def run(config, workdir, objective=None):
    return loop.train(config, epath.Path(workdir), objective or Line(), batches_from, rows(99))


def test_trains_and_reports(tmp_path):
    state = run(make_config(steps=60, log_every=10, checkpoint_every=30), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40, 50, 60]
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]
    assert {"mae", "lr", "grad_norm", "img_per_s", "data_wait"} <= lines[0].keys()
    assert sorted(p.name for p in (tmp_path / "samples").iterdir())[-1] == "0000060.png"
    exported = json.loads((tmp_path / "export" / "weights.json").read_text())
    kernel = np.asarray(state.ema_params["transformer"]["head"]["kernel"])
    np.testing.assert_array_equal(exported["transformer"]["head"]["kernel"], kernel)


def test_resumed_run_equals_one_that_never_stopped(tmp_path):
    whole = run(make_config(), tmp_path / "whole")
    run(make_config(steps=4), tmp_path / "parts")
    resumed = run(make_config(), tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


def test_divergence_names_step_and_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"loss is nan at step 4; last good checkpoint: 2"):
        run(make_config(), tmp_path, Line(poison_at=3))


def test_finished_run_only_exports(tmp_path):
    run(make_config(), tmp_path)
    (tmp_path / "export" / "weights.json").unlink()
    run(make_config(), tmp_path)
    assert (tmp_path / "export" / "weights.json").exists()
