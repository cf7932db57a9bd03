import itertools
import math
import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.train.metrics import MetricsWindow, TrainingDiverged


def values(loss, grad_norm=1.0, lr=0.1):
    return {"loss": jnp.float32(loss), "grad_norm": jnp.float32(grad_norm), "lr": jnp.float32(lr)}


def test_window_reports_means_one_step_late():
    window = MetricsWindow(lambda: None)
    for step, loss in enumerate([1.0, 3.0, 100.0], 1):
        window.add(step, values(loss, lr=step / 10))
    report = window.report(batch_size=4)
    assert report["loss"] == 2.0  # the third step is still on the device
    assert report["lr"] == pytest.approx(0.2)
    assert window.report(batch_size=4)["loss"] == 100.0


def test_the_step_that_compiles_has_no_rate():
    window = MetricsWindow(lambda: None)
    window.add(1, values(1.0))
    assert window.report(batch_size=4) == {"loss": 1.0, "grad_norm": 1.0, "lr": np.float32(0.1)}


def test_window_counts_waiting():
    window = MetricsWindow(lambda: None)
    window.add(1, values(1.0))
    window.flush()  # the step that compiles is not timed
    with window.waiting():
        pass
    window.add(2, values(1.0))
    window.flush()
    report = window.report(batch_size=4)
    assert 0 <= report["data_wait"] <= 1
    assert report["img_per_s"] * report["s_per_step"] == pytest.approx(4)


def test_pauses_cost_no_speed(monkeypatch):
    now = itertools.count()  # a second passes between two looks at the clock
    clock = types.SimpleNamespace(perf_counter=lambda: next(now))
    monkeypatch.setattr("jaxedit.train.metrics.time", clock)
    window = MetricsWindow(lambda: None)
    window.add(1, values(1.0))
    window.flush()
    before = next(now)
    with window.pausing():
        for _ in range(100):
            next(now)
    window.add(2, values(1.0))
    window.flush()
    assert window.report(batch_size=4)["s_per_step"] < 5 < 100 < next(now) - before


@pytest.mark.parametrize(("name", "value"), [("loss", math.nan), ("grad_norm", math.inf)])
def test_window_stops_at_numbers_that_are_not_finite(name, value):
    window = MetricsWindow(lambda: 40)
    window.add(41, values(1.0) | {name: jnp.float32(value)})
    with pytest.raises(TrainingDiverged, match=f"{name} is {value} at step 41; .*checkpoint: 40"):
        window.add(42, values(1.0))
