import json

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from line import Line

from jaxedit.config import TrainConfig
from jaxedit.train import watchdog as phases
from jaxedit.train.metrics import TrainingDiverged
from jaxedit.train.monitor import Monitor


class Phases:
    """A watchdog that remembers what it was told."""

    def __init__(self):
        self.entered = []

    def enter(self, phase, step):
        self.entered.append((step, phase))


def monitor(tmp_path, start=0, **changes):
    config, watchdog = TrainConfig(steps=9, **changes), Phases()
    made = Monitor(
        config, epath.Path(tmp_path), Line(), watchdog, start=start, last_good=lambda: start
    )
    return made, watchdog


def take_step(monitor, step, loss=1.0):
    with monitor.waiting_for_data(step):
        pass
    with monitor.running(step):
        pass
    values = {"loss": loss, "grad_norm": 1.0, "lr": 0.1}
    monitor.add(step, {name: jnp.float32(value) for name, value in values.items()})


def test_a_step_is_watched_and_reported(tmp_path, caplog):
    caplog.set_level("INFO")
    made, watchdog = monitor(tmp_path, start=3)
    with made:
        take_step(made, 4)
        take_step(made, 5, loss=3.0)
        with made.saving(5):
            pass
        made.report(5)
        with made.drawing(5):
            made.write_images(5, np.zeros((1, 2, 4, 4, 3), np.uint8))
    assert watchdog.entered == [
        (4, phases.FIRST_DATA),
        (4, phases.FIRST),
        (5, phases.DATA),
        (5, phases.STEP),
        (5, phases.SAVE),
        (5, phases.SHEET),
    ]
    (report,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (report["step"], report["loss"]) == (5, 2.0) and report["tflops_per_device"] > 0
    assert (tmp_path / "samples/0000005.png").exists()
    assert "step 4 is done, after 0s" in caplog.messages


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    made, _ = monitor(tmp_path)
    with made, pytest.raises(TrainingDiverged, match="loss is nan at step 1"):
        take_step(made, 1, loss=np.nan)
        with made.saving(1):
            pytest.fail("saved")


def test_arrays_do_not_move_by_accident_during_a_step(tmp_path):
    made, _ = monitor(tmp_path)
    with made, made.running(1), pytest.raises(Exception, match="[Dd]isallowed"):
        jnp.zeros(3) + np.ones(3)
