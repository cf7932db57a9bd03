import json
import pathlib

import numpy as np
from etils import epath
from PIL import Image

from jaxedit.config import TrainConfig
from jaxedit.train import reporting
from jaxedit.train.curves import draw_curves
from jaxedit.train.reporting import MetricWriter

ROWS = [
    {"step": 10, "loss": 2.0, "lr": 0.1, "grad_norm": 1.0},
    {"step": 10, "val/loss": 1.5, "val/success": 0.25},
    {"step": 20, "loss": 1.0, "lr": 0.2, "grad_norm": 1.0},
]


def test_each_reported_metric_is_a_line_over_the_steps():
    figure = draw_curves("".join(json.dumps(row) + "\n" for row in ROWS))
    plots = {axes.get_title(): axes.get_lines() for axes in figure.axes}
    assert list(plots) == ["loss", "success of held-out edits", "learning rate"]
    train, validation = plots["loss"]
    np.testing.assert_array_equal(train.get_xydata(), [[10, 2], [20, 1]])
    np.testing.assert_array_equal(validation.get_xydata(), [[10, 1.5]])


def write(workdir: pathlib.Path, rows: list[dict], start: int = 0) -> None:
    with MetricWriter(epath.Path(workdir), TrainConfig(), start=start) as writer:
        for row in rows:
            writer._write_values(row["step"], {k: v for k, v in row.items() if k != "step"})


def test_the_picture_is_drawn_while_a_run_goes_on_and_after_a_resume(tmp_path, monkeypatch):
    write(tmp_path, ROWS)
    assert not (tmp_path / "metrics.png").exists()  # a run of less than half a minute
    monkeypatch.setattr(reporting, "DRAW_EVERY", 0.0)
    write(tmp_path, ROWS[:1], start=20)
    with Image.open(tmp_path / "metrics.png") as picture:
        assert picture.width > 1000


def test_a_drawing_that_fails_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(reporting, "DRAW_EVERY", 0.0)
    (tmp_path / "metrics.png").mkdir()
    write(tmp_path, ROWS[:1])
    assert "metrics.png failed, the run goes on" in caplog.messages[0]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_without_matplotlib_one_line_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(reporting.importlib.util, "find_spec", lambda name: None)
    caplog.set_level("INFO")
    write(tmp_path, [])
    assert caplog.messages == ["metrics.png is not drawn: pip install matplotlib"]
