import json
import logging
import sys
import types

import numpy as np
import pytest
from etils import epath
from PIL import Image

from jaxedit.checkpoints.train_state import Best
from jaxedit.config import ConfigError, TrainConfig
from jaxedit.train.reporting import (
    MetricWriter,
    format_duration,
    only_reported,
    replace_text,
    reports_until,
    sheet_of,
)


def fail(error):
    with only_reported("the plot"):
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a\nb  c"), "a b c"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 1000), "x" * 300),
    ],
)
def test_a_failure_is_one_line(caplog, error, reason):
    fail(error)
    assert caplog.record_tuples == [
        (
            "jaxedit.train.reporting",
            logging.WARNING,
            f"the plot failed, the run goes on: {reason}",
        )
    ]


def test_success_says_nothing(caplog):
    with only_reported("the plot"):
        pass
    assert not caplog.messages


@pytest.mark.parametrize("error", [ConfigError("bad"), KeyboardInterrupt()])
def test_settings_and_the_user_still_end_the_run(error):
    with pytest.raises(type(error)):
        fail(error)


def report(**changes):
    return {"loss": 1.0, "lr": 0.1, "grad_norm": 1.0, "img_per_s": 8.0, "s_per_step": 0.5} | {
        "data_wait": 0.0,
        **changes,
    }


def write_sheet(writer, step, rows, columns, **options):
    images = np.zeros((rows, columns, 8, 8, 3), np.uint8)
    writer.write_sheet(step, images, ["source"] * columns, ["snow"] * rows, **options)


def test_writer_drops_reports_after_the_checkpoint(tmp_path):
    config = TrainConfig(steps=40)
    with MetricWriter(epath.Path(tmp_path), config, start=0) as writer:
        for step in (10, 20, 30):
            writer.write_scalars(step, report())
    with MetricWriter(epath.Path(tmp_path), config, start=20) as writer:
        writer.write_scalars(30, report(loss=0.5))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(10, 1.0), (20, 1.0), (30, 0.5)]


@pytest.mark.parametrize(
    ("rates", "line"), [({}, "8.0 img/s  data"), ({"mfu": 0.456}, "MFU 45.6%")]
)
def test_the_log_line_shows_the_share_if_it_is_known(tmp_path, caplog, rates, line):
    with (
        caplog.at_level("INFO"),
        MetricWriter(epath.Path(tmp_path), TrainConfig(), start=0) as writer,
    ):
        writer.write_scalars(10, report(**rates))
    assert line in caplog.text


def test_a_report_that_a_kill_cut_short_is_dropped():
    whole = '{"step": 10}\n{"step": 20}\n'
    assert reports_until(whole, 20) == whole
    assert reports_until(whole + '{"step": 3', 40) == whole
    assert reports_until(whole, 10) == '{"step": 10}\n' and reports_until("", 0) == ""


def test_files_are_replaced_whole(tmp_path):
    path = epath.Path(tmp_path) / "config.json"
    for text in ("long text", "text"):
        replace_text(path, text)
        assert path.read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_validation_has_names_of_its_own(tmp_path, caplog):
    caplog.set_level("INFO")
    with MetricWriter(epath.Path(tmp_path), TrainConfig(steps=40), start=0) as writer:
        values = {"val/loss": 1.5, "val/psnr": 21.234, "val/accuracy_q1": 0.5}
        writer.write_validation(10, values, Best(8, 1.25))
        write_sheet(writer, 10, 1, 1, name="validation")
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {"step": 10} | values
    best = "best val/loss 1.2500 at step 8"
    assert caplog.messages == [f"step 10/40  val/loss 1.5000  val/psnr 21.2340  {best}"]
    assert (tmp_path / "samples/0000010-validation.png").exists()


def test_the_log_shows_the_success_of_each_type(tmp_path, caplog):
    caplog.set_level("INFO")
    config = TrainConfig(steps=40, best_metric="val/success")
    values = {"val/success": 0.375, "val/success_random": 0.25, "val/success_change_style": 0.5}
    with MetricWriter(epath.Path(tmp_path), config, start=0) as writer:
        writer.write_validation(10, values | {"val/psnr_background": 21.0}, Best(8, 0.5))
    assert caplog.messages == [
        "step 10/40  val/success 0.3750  val/psnr_background 21.0000  "
        "best val/success 0.5000 at step 8",
        "step 10/40  success of random 0.25, change_style 0.50",
    ]


def test_writer_makes_a_picture_and_a_dashboard(tmp_path):
    pytest.importorskip("tensorboardX")
    with MetricWriter(epath.Path(tmp_path), TrainConfig(tensorboard=True), start=0) as writer:
        writer.write_scalars(10, report())
        write_sheet(writer, 10, 2, 3)
    with Image.open(tmp_path / "samples" / "0000010.png") as picture:
        assert picture.size == (608, 480)
    assert list((tmp_path / "tb").iterdir())


def test_a_bucket_gets_all_reports_and_costs_no_run(bucket, caplog, monkeypatch):
    with MetricWriter(epath.Path("gs://bucket/run"), TrainConfig(), start=0) as writer:
        for step in (10, 20):
            writer.write_scalars(step, report())
        monkeypatch.setattr(epath.Path, "write_text", refuse)
        writer.write_scalars(30, report())
        write_sheet(writer, 30, 1, 1)
    lines = bucket["/bucket/run/metrics.jsonl"].getvalue().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20]
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["writing metrics.jsonl failed, the run goes on: 503"]
    assert "/bucket/run/samples/0000030.png" in bucket


def refuse(*_):
    raise RuntimeError("503")


def test_a_run_has_one_curve_in_wandb(tmp_path, monkeypatch):
    calls = []

    class Wandb(types.ModuleType):
        init = staticmethod(lambda **settings: calls.append(settings))
        log = staticmethod(lambda values, step: calls.append((step, values["loss"])))
        finish = staticmethod(lambda: calls.append("finished"))

    monkeypatch.setitem(sys.modules, "wandb", Wandb("wandb"))
    config = TrainConfig(wandb="project", steps=40)
    for workdir in ("a/run", "a/run", "b/run"):
        path = epath.Path(tmp_path) / workdir
        path.mkdir(parents=True, exist_ok=True)
        with MetricWriter(path, config, start=0) as writer:
            writer.write_scalars(10, report())
    first, again, other = calls[::3]
    assert calls[1:3] == [(10, 1.0), "finished"]
    assert first["id"] == again["id"] != other["id"]
    assert (first["project"], first["name"], first["resume"]) == ("project", "run", "allow")
    assert first["config"]["steps"] == 40


def test_a_dashboard_that_fails_costs_a_line_and_nothing_else(tmp_path, monkeypatch, caplog):
    class Wandb(types.ModuleType):
        init = staticmethod(lambda **settings: None)
        log = finish = staticmethod(lambda *_, **__: refuse())
        Image = staticmethod(np.shape)

    monkeypatch.setitem(sys.modules, "wandb", Wandb("wandb"))
    with MetricWriter(epath.Path(tmp_path), TrainConfig(wandb="project"), start=0) as writer:
        writer.write_scalars(10, report())
        write_sheet(writer, 10, 1, 1)
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["Weights & Biases failed, the run goes on: 503"] * 3  # report, sheet, close
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 10
    assert (tmp_path / "samples" / "0000010.png").exists()


def test_a_dashboard_that_does_not_open_is_left_out(tmp_path, monkeypatch, caplog):
    module = types.ModuleType("wandb")
    module.init = lambda **settings: refuse()
    monkeypatch.setitem(sys.modules, "wandb", module)
    with MetricWriter(epath.Path(tmp_path), TrainConfig(wandb="project"), start=0) as writer:
        writer.write_scalars(10, report())
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["opening Weights & Biases failed, the run goes on: 503"]


def test_a_report_that_does_not_fit_on_the_disk(tmp_path, caplog):
    with MetricWriter(epath.Path(tmp_path), TrainConfig(), start=0) as writer:
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").mkdir()
        writer.write_scalars(10, report())
    assert "writing metrics.jsonl failed, the run goes on: " in caplog.text


@pytest.mark.parametrize("setting", [{"tensorboard": True}, {"wandb": "project"}])
def test_missing_dashboard_package_is_named(tmp_path, monkeypatch, setting):
    for package in ("tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match="needs: pip install"):
        MetricWriter(epath.Path(tmp_path), TrainConfig(**setting), start=0)


def test_a_sheet_has_headings_and_instructions():
    images = np.full((2, 3, 8, 8, 3), (255, 0, 0), np.uint8)
    plain = sheet_of(images, [""] * 3, [""] * 2)
    assert (plain == (255, 0, 0)).all(-1).sum() == 6 * 192 * 192
    with_words = sheet_of(images, ("source", "edit", "target"), ["snow", ""])
    rows = np.split((with_words != plain).any((1, 2)), 2)
    assert rows[0][:20].any() and not rows[1][:20].any()  # only the first has an instruction
    assert all(row[20:40].any() for row in rows)  # headings


def test_format_duration():
    assert [format_duration(s) for s in (9.4, 125, 3725, 90_000)] == [
        "9s",
        "2m05s",
        "1h02m",
        "25h00m",
    ]
