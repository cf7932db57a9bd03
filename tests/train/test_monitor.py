import contextlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from line import Line

from jaxedit.config import TrainConfig
from jaxedit.train import watchdog as phases
from jaxedit.train.metrics import TrainingDiverged
from jaxedit.train.monitor import Monitor, Profiler
from jaxedit.train.watchdog import Watchdog


@contextlib.contextmanager
def opened(tmp_path, start=0, **changes):
    config = TrainConfig(steps=9, **changes)
    with Monitor(config, epath.Path(tmp_path), Line()) as monitor:
        monitor.start(start, lambda: start)
        yield monitor


def take_step(monitor, step, loss=1.0):
    with monitor.waiting_for_data(step):
        pass
    with monitor.running(step):
        pass
    values = {"loss": loss, "grad_norm": 1.0, "lr": 0.1}
    monitor.add(step, {name: jnp.float32(value) for name, value in values.items()})


def test_a_step_is_watched_and_reported(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    entered = []
    enter = lambda self, phase, step=None: entered.append((step, phase))  # noqa: E731
    monkeypatch.setattr(Watchdog, "enter", enter)
    with opened(tmp_path, start=3) as made:
        take_step(made, 4)
        take_step(made, 5, loss=3.0)
        with made.saving(5):
            pass
        made.report(5)
        with made.drawing(5):
            pictures = np.zeros((1, 2, 4, 4, 3), np.uint8)
            made.writer.write_sheet(5, pictures, ("source", "edit"), ["snow"])
        with made.exporting():
            pass
    assert entered == [
        (None, phases.START),
        (4, phases.FIRST_DATA),
        (4, phases.FIRST),
        (5, phases.DATA),
        (5, phases.STEP),
        (5, phases.SAVE),
        (5, phases.SHEET),
        (None, phases.EXPORT),
        (None, phases.SAVE),
    ]
    (report,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (report["step"], report["loss"]) == (5, 2.0) and report["tflops_per_device"] > 0
    assert (tmp_path / "samples/0000005.png").exists()
    assert any(message.startswith("step 4 is done, after ") for message in caplog.messages)


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    with opened(tmp_path) as made, pytest.raises(TrainingDiverged, match="loss is nan at step 1"):
        take_step(made, 1, loss=np.nan)
        with made.saving(1):
            pytest.fail("saved")


def test_arrays_do_not_move_by_accident_during_a_step(tmp_path):
    with opened(tmp_path) as made, made.running(1), pytest.raises(Exception, match="[Dd]isallowed"):
        jnp.zeros(3) + np.ones(3)


def profiles(directory):
    return list(directory.glob("plugins/profile/*/*.xplane.pb"))


@contextlib.contextmanager
def profiler_of(directory, steps):
    profiler = Profiler(directory, steps)
    yield profiler
    profiler.close()


def steps(profiler, count):
    for _ in range(count):
        profiler.before()
        profiler.after({"loss": jnp.ones(()) + 1})


def test_profile_of_some_steps(tmp_path):
    with profiler_of(epath.Path(tmp_path), (2, 3)) as profiler:
        steps(profiler, 2)
        assert not profiles(tmp_path)
        steps(profiler, 1)
        assert len(profiles(tmp_path)) == 1
        steps(profiler, 2)
    assert len(profiles(tmp_path)) == 1


def test_profile_of_a_run_that_ends_early(tmp_path):
    with profiler_of(epath.Path(tmp_path), (2, 30)) as profiler:
        steps(profiler, 3)
    assert len(profiles(tmp_path)) == 1


def test_no_profile_unless_asked_for(tmp_path):
    with profiler_of(epath.Path(tmp_path), None) as profiler:
        steps(profiler, 3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["start_trace", "stop_trace"])
def test_a_profiler_that_fails_ends_no_run(tmp_path, monkeypatch, caplog, call):
    def fail(*_):
        raise RuntimeError("only one profile\nat a time")

    stop = jax.profiler.stop_trace
    monkeypatch.setattr(jax.profiler, call, fail)
    with profiler_of(epath.Path(tmp_path), (1, 2)) as profiler:
        steps(profiler, 3)
    if call == "stop_trace":
        stop()
    assert caplog.messages == ["the profile failed, the run goes on: only one profile at a time"]
