"""The validation loss of every objective, and of a run of the loop."""

import copy
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from line import HeldOut, HeldOutEdits, Line, batches_from, data_of, examples_of

from jaxedit import rng
from jaxedit.checkpoints.pretrained import read_config
from jaxedit.checkpoints.train_state import Checkpoints
from jaxedit.config import (
    BSQConfig,
    BSQTrainConfig,
    DataConfig,
    EditARTrainConfig,
    MeshConfig,
    OptimConfig,
    PretrainedConfig,
    TrainConfig,
    VAREditTrainConfig,
    VQConfig,
    VQTrainConfig,
)
from jaxedit.data.batch import EditBatch
from jaxedit.data.validation import ValidationRows
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.train import loop
from jaxedit.train.objectives import registry
from jaxedit.train.step import TrainState
from jaxedit.train.validation import Validation

KEY = rng.key_for(0, "loss")
SMALL = {"base_channels": 24, "channel_mult": (1, 1), "res_blocks": 1}


def quiet(config):
    """The same run without dropout, noise and dropped conditions."""
    config = copy.deepcopy(config)
    config.varedit.text_drop = config.varedit.bit_noise = 0.0
    config.editar.drop = config.editar.random_share = config.editar.spoilt_share = 0.0
    config.bsq.scale_drop = 0.0
    if varedit := config.model.varedit:
        varedit.drop_path = 0.0
    if editar := config.model.editar:
        editar.dropout = editar.token_dropout = 0.0
    return config


@pytest.fixture(scope="module", params=["varedit", "editar", "bsq", "vq"])
def config(request, tiny_model, tiny_editar):
    """A small run whose training is as noisy as can be."""
    kind, common = request.param, {"dtype": "float32", "remat": "none"}
    if kind == "bsq":
        model = PretrainedConfig(model_type="bsq", bsq=BSQConfig(bits=4, stride=2, **SMALL))
        scales = ((1, 1), (4, 4), (12, 12))
        data = DataConfig(image_size=24, batch_size=8)
        return TrainConfig(model=model, data=data, bsq=BSQTrainConfig(scales=scales), **common)
    if kind == "vq":
        vq = VQConfig(codes=16, code_width=4, latent_width=8, **SMALL)
        model, data = PretrainedConfig(model_type="vq", vq=vq), DataConfig(image_size=24)
        data.batch_size = 8
        settings = VQTrainConfig(drift_weight=10.0)
        return TrainConfig(model=model, data=data, vq=settings, **common)
    model = read_config(epath.Path({"varedit": tiny_model, "editar": tiny_editar}[kind]))
    data = DataConfig(image_size=32, batch_size=8, text_tokens=6)
    if kind == "varedit":
        model.varedit = dataclasses.replace(model.varedit, drop_path=0.5)
        settings = {"varedit": VAREditTrainConfig(tokenizer=str(tiny_model), text_drop=0.9)}
    else:
        model.editar = dataclasses.replace(model.editar, dropout=0.5, token_dropout=0.5)
        data = dataclasses.replace(data, image_size=16, text_tokens=model.editar.text_tokens)
        settings = EditARTrainConfig(
            tokenizer=str(tiny_editar), drop=0.3, random_share=0.5, spoilt_share=0.5
        )
        settings = {"editar": settings}
    return TrainConfig(model=model, data=data, **settings, **common)


def make_batch(config, rows=8):
    random, size = np.random.default_rng(0), config.data.image_size
    source, target = random.integers(0, 256, (2, rows, size, size, 3), np.uint8)
    target[:, : size // 2] = source[:, : size // 2]
    mask = np.zeros((rows, size, size), bool)
    mask[:, size // 2 :] = True
    ids = random.integers(1, 99, (rows, config.data.text_tokens)).astype(np.int32)
    return EditBatch(source, target, ids, np.ones_like(ids, bool), mask)


class Case:
    """The validation of an objective, its training loss, and parameters for both."""

    def __init__(self, config):
        self.config, self.objective = config, registry.make_objective(config)
        self.frozen = rules.place(self.objective.frozen(), None)
        random = np.random.default_rng(1)
        self.params = jax.tree.map(
            lambda x: jnp.asarray(0.2 * random.standard_normal(x.shape, np.float32)),
            jax.eval_shape(self.objective.init, KEY),
        )
        self.step = jnp.int32(3)
        self.evaluate = jax.jit(lambda batch, key: self._loss(self.objective, batch, key, False))
        inner = registry.make_objective(quiet(config))
        self.train = jax.jit(lambda batch: self._loss(inner, batch, KEY, True))

    def _loss(self, objective, batch, key, is_training):
        loss, metrics = objective.loss(
            self.params, self.frozen, batch, key, self.step, is_training=is_training
        )
        return {"loss": loss} | {name: x for name, x in metrics.items() if x.ndim == 0}


@pytest.fixture(scope="module")
def case(config):
    return Case(config)


def rows_of(batch, rows):
    return jax.tree.map(lambda x: x[rows], batch)


def assert_close(found, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


def test_it_is_the_training_loss_without_noise(case):
    batch = make_batch(case.config)
    expected, found = case.train(batch), case.evaluate(batch, KEY)
    expected.pop("psnr", None)  # training has that of the batch, validation that of pictures
    assert_close(found, expected)
    assert_close(case.evaluate(batch, rng.key_for(1, "loss")), found)  # nothing is drawn
    extra = found.keys() - expected.keys()
    kind = case.config.model.model_type
    if kind == "editar":
        quarters = [found[f"accuracy_q{i}"] for i in (1, 2, 3, 4)]
        np.testing.assert_allclose(np.mean(quarters), found["accuracy"], rtol=1e-5)
    else:
        assert extra == ({"psnr"} if kind in ("bsq", "vq") else set())


def test_rows_that_are_not_valid_do_not_count(case):
    batch, rows = make_batch(case.config), np.array([0, 1, 2, 3, 4, 4, 4, 4])
    padded = dataclasses.replace(rows_of(batch, rows), valid=np.arange(8) < 5)
    assert_close(case.evaluate(padded, KEY), case.evaluate(rows_of(batch, np.arange(5)), KEY))


class Rows(ValidationRows):
    """Thirteen rows in batches of eight, the last of them filled up."""

    def __init__(self, config):
        self.name = "some rows"
        self._batch = make_batch(config, 13)

    def __len__(self):
        return 13

    def batches(self, rows):
        for begin in (0, 8):
            index = np.minimum(begin + np.array(rows), 12)
            valid = begin + np.array(rows) < 13
            yield dataclasses.replace(rows_of(self._batch, index), valid=valid)


@pytest.mark.parametrize("axes", [pytest.param((1, 1, 1), marks=pytest.mark.slow), (2, 2, 1)])
def test_means_over_batches_are_weighted_by_their_rows(case, axes):
    rows, batch = Rows(case.config), make_batch(case.config, 13)
    parts = [rows_of(batch, slice(0, 8)), rows_of(batch, slice(8, 13))]
    first, second = (case.evaluate(part, KEY) for part in parts)
    expected = {name: (8 * first[name] + 5 * second[name]) / 13 for name in first}
    sizes = MeshConfig(data=axes[0], fsdp=axes[1], tensor=axes[2])
    mesh = make_mesh(sizes, jax.devices()[: int(np.prod(axes))])
    with jax.set_mesh(mesh):
        state = TrainState(step=case.step, params=case.params, opt_state=(), ema_params={})
        state = rules.place(state, mesh)
        frozen = rules.place(case.objective.frozen(), mesh)
        validation = Validation(case.config, case.objective, rows, state, frozen, mesh)
        assert_close(validation(state, frozen), expected)
        assert validation(state, frozen) == validation(state, frozen)


# The loop, with an objective that trains in milliseconds.


def make_config(**changes):
    values = {"steps": 6, "log_every": 2, "checkpoint_every": 6, "sample_every": 3}
    return TrainConfig(
        optim=OptimConfig(learning_rate=0.05, warmup_steps=2, clip_norm=1.0),
        data=DataConfig(batch_size=8),
        ema_decay=0.9,
        **values | {"eval_every": 2, "keep_checkpoints": 1} | changes,
    )


def run(config, workdir, **more):
    workdir.mkdir(exist_ok=True)
    held_out = {"validation": HeldOut(), "validation_examples": examples_of(98)} | more
    data = data_of(batches_from, **held_out)
    return loop.train(config, epath.Path(workdir), Line(), data)


@pytest.fixture
def losses(monkeypatch):
    """Make the next validations find these losses."""

    def pretend(*values):
        left = iter(values)
        monkeypatch.setattr(Validation, "__call__", lambda *_: {"loss": next(left), "mae": 1.0})

    return pretend


def reports(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [report for report in map(json.loads, lines) if "val/loss" in report]


def saved(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def test_a_run_reports_and_draws(tmp_path, caplog):
    caplog.set_level("INFO")
    state = run(make_config(), tmp_path)
    found = reports(tmp_path)
    assert [report["step"] for report in found] == [2, 4, 6]
    assert found[-1]["val/loss"] < found[0]["val/loss"]
    # by hand: the loss of the thirteen rows, with the moving average
    kernel = np.asarray(state.ema_params["transformer"]["mlp"]["up"]["kernel"])
    batches = list(HeldOut().batches(range(8)))
    source, target = (
        np.concatenate([getattr(b, name)[b.valid] for b in batches]) / 255
        for name in ("source", "target")
    )
    one = np.ones((*source.shape[:-1], 1))
    error = np.concatenate([source, one], -1) @ kernel + 1 - np.concatenate([target, one], -1)
    np.testing.assert_allclose(found[-1]["val/loss"], (error**2).mean(), rtol=1e-5)
    assert "validation: 13 rows, held-out rows (moving average of the parameters)" in caplog.text
    assert f"step 6/6  val/loss {found[-1]['val/loss']:.4f}  best val/loss " in caplog.text
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == [f"000000{n}{end}.png" for n in (3, 6) for end in ("-validation", "")]


def test_validation_changes_nothing_else(tmp_path):
    off = run(make_config(eval_every=0), tmp_path / "off")
    on = run(make_config(), tmp_path / "on")
    jax.tree.map(np.testing.assert_array_equal, off, on)
    assert not reports(tmp_path / "off") and saved(tmp_path / "off") == [6]


def test_the_best_checkpoint_is_kept_and_resumed_runs_know_it(tmp_path, losses, caplog):
    caplog.set_level("INFO")
    losses(3.0, 1.0, 2.0)
    run(make_config(), tmp_path)
    assert saved(tmp_path) == [4, 6]
    assert "best val/loss: 1.0000 at step 4" in caplog.messages
    losses(1.5)  # not lower than before
    run(make_config(steps=8), tmp_path)
    assert saved(tmp_path) == [4, 8]
    losses(0.5)
    run(make_config(steps=10), tmp_path)
    assert saved(tmp_path) == [10]
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.best() == (10, 0.5)


def test_the_best_is_exported_when_asked_for(tmp_path, losses):
    losses(1.0, 3.0, 2.0)
    last = run(make_config(), tmp_path / "last")
    losses(1.0, 3.0, 2.0)
    best = run(make_config(export="best"), tmp_path / "best")
    assert (int(last.step), int(best.step)) == (6, 2)
    exported = json.loads((tmp_path / "best/export/weights.json").read_text())
    kernel = np.asarray(best.ema_params["transformer"]["mlp"]["up"]["kernel"])
    np.testing.assert_array_equal(exported["transformer"]["mlp"]["up"]["kernel"], kernel)


def test_a_loss_that_is_not_finite_is_never_the_best(tmp_path, losses):
    losses(2.0, np.nan, 3.0)
    run(make_config(), tmp_path)
    assert saved(tmp_path) == [2, 6]


@pytest.fixture
def scores(monkeypatch):
    """Make the next edits have these shares of success; None: judging them fails."""

    def pretend(*values):
        left = iter(values)

        def score(*_):
            value = next(left)
            return {"success": value} if value is not None else 1 / 0

        monkeypatch.setattr(HeldOutEdits, "scores", score)

    return pretend


def test_edits_of_the_averaged_parameters_are_scored(tmp_path, caplog):
    caplog.set_level("INFO")
    state = run(make_config(), tmp_path, benchmark=HeldOutEdits())
    average = state.ema_params["transformer"]["mlp"]["up"]["kernel"].mean()
    pixels = np.concatenate([batch.source[batch.valid] for batch in HeldOut().batches(range(8))])
    expected = np.floor(pixels * np.asarray(jax.nn.sigmoid(average))).mean() / 255
    found = reports(tmp_path)
    assert [report["step"] for report in found] == [2, 4, 6] and found[0].keys() > {"val/mae"}
    assert found[-1]["val/success"] == pytest.approx(expected, abs=1e-4)
    assert f"  val/success {found[-1]['val/success']:.4f}  best val/loss" in caplog.text
    assert "edits: 13 pairs, brightness" in caplog.messages


def test_the_best_is_that_of_the_metric_that_the_config_names(tmp_path, losses, scores):
    config = make_config(best_metric="val/success", export="best")
    losses(3.0, 2.0, 1.0)
    scores(0.2, 0.8, 0.5)
    best = run(config, tmp_path, benchmark=HeldOutEdits())
    assert int(best.step) == 4 and saved(tmp_path) == [4, 6]
    config.steps = 8  # a resumed run knows it
    losses(0.5)
    scores(0.7)
    assert int(run(config, tmp_path, benchmark=HeldOutEdits()).step) == 4


def test_edits_that_fail_cost_their_scores_alone(tmp_path, scores, caplog):
    config = make_config(best_metric="val/success", export="best")
    scores(None, None, None)
    last = run(config, tmp_path, benchmark=HeldOutEdits())
    told = "editing brightness failed, the run goes on: division by zero"
    assert caplog.messages.count(told) == 3
    assert "no checkpoint has val/success: exporting the last weights" in caplog.messages
    assert int(last.step) == 6 and len(reports(tmp_path)) == 3


def test_edits_alone(tmp_path, scores):
    scores(0.5, 0.25, 0.75)
    run(make_config(best_metric="val/success"), tmp_path, validation=None, benchmark=HeldOutEdits())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "val/success" in line]
    assert found[-1] == {"step": 6, "val/success": 0.75} and saved(tmp_path) == [6]
