import json
import os
import signal
import subprocess
import sys
import time

import jax
import line
import numpy as np
import pytest
from etils import epath
from line import Line, batches_from, data_of, validated

from jaxedit.checkpoints.train_state import BucketError, Checkpoints
from jaxedit.config import ConfigError, DataConfig, OptimConfig, TrainConfig
from jaxedit.train import __main__ as command
from jaxedit.train import loop
from jaxedit.train.metrics import TrainingDiverged
from jaxedit.train.objectives import registry
from jaxedit.train.workdir import Workdir


def make_config(**changes):
    optim = OptimConfig(learning_rate=0.05, warmup_steps=2, clip_norm=1.0)
    values = {"steps": 6, "log_every": 2, "checkpoint_every": 2, "sample_every": 3} | changes
    config = TrainConfig(optim=optim, ema_decay=0.9, data=DataConfig(batch_size=8), **values)
    return config


def run(config, workdir, objective=None):
    return loop.train(config, epath.Path(workdir), objective or Line(), data_of(batches_from))


def test_trains_and_reports(tmp_path):
    state = run(make_config(steps=60, log_every=10, checkpoint_every=30), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40, 50, 60]
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]
    assert {"mae", "lr", "grad_norm", "img_per_s", "data_wait"} <= lines[0].keys()
    assert lines[-1]["tflops_per_device"] > 0 and "mfu" not in lines[-1]  # a CPU has no known peak
    assert sorted(p.name for p in (tmp_path / "samples").iterdir())[-1] == "0000060.png"
    exported = json.loads((tmp_path / "export" / "weights.json").read_text())
    kernel = np.asarray(state.ema_params["transformer"]["mlp"]["up"]["kernel"])
    np.testing.assert_array_equal(exported["transformer"]["mlp"]["up"]["kernel"], kernel)


def test_a_count_of_operations_that_fails_ends_no_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Line, "passes", lambda self: 1 / 0)
    run(make_config(), tmp_path)
    told = "counting the operations of a step failed, the run goes on: division by zero"
    assert caplog.messages.count(told) == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6 and "img_per_s" in lines[-1]
    assert "tflops_per_device" not in lines[-1]


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


def long_run(workdir):
    return arguments(workdir, "steps=90", "checkpoint_every=30")


def wait_for_checkpoint(workdir, process):
    for _ in range(6000):
        time.sleep(0.1)
        if list((workdir / "checkpoints").glob("[0-9][0-9]/_CHECKPOINT_METADATA")):
            return
        assert process.poll() is None, "ended before it was stopped"
    raise TimeoutError


def test_killed_and_resumed_run_equals_one_that_never_stopped(tmp_path, monkeypatch):
    first = [sys.executable, line.__file__, *long_run(tmp_path / "parts")[1:]]
    with subprocess.Popen(first, stdout=subprocess.DEVNULL) as process:
        wait_for_checkpoint(tmp_path / "parts", process)
        process.kill()
    monkeypatch.setattr(registry, "build", lambda c: (Line(), data_of(batches_from, **validated())))
    one = jax.local_devices()[:1]  # as that process had
    monkeypatch.setattr(jax, "devices", lambda: one)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    for name in ("whole", "parts"):
        assert command.main(long_run(tmp_path / name)) == 0
    assert "resuming after step" in (tmp_path / "parts/log.txt").read_text()
    weights = [(tmp_path / name / "export/weights.json").read_text() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def use(monkeypatch, objective, batches=batches_from):
    monkeypatch.setattr(registry, "build", lambda config: (objective, data_of(batches)))


def arguments(workdir, *more):
    changes = ["data.batch_size=8", "steps=6", "checkpoint_every=2", "log_every=2", *more]
    changes = [f"--config.{change}" for change in changes]
    return ["train", "--config=configs/var_sar.py:tiny", f"--workdir={workdir}", *changes]


def test_command_writes_config_and_log(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Line())
    assert command.main(arguments(tmp_path)) == 0
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 6
    log = (tmp_path / "log.txt").read_text()
    assert "--config.steps=6" in log and "step 6/6  loss" in log and "exported" in log
    assert "step 6/6  loss" in capsys.readouterr().out


def test_changed_setting_is_shown_on_resume(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Line())
    command.main(arguments(tmp_path, "steps=2"))
    capsys.readouterr()
    assert command.main(arguments(tmp_path, "optim.learning_rate=0.5")) == 0
    out = capsys.readouterr().out
    assert (
        "--config.optim.learning_rate was 0.001, is 0.5" in out and "resuming after step 2" in out
    )


def stop_in(step, batches, sign=signal.SIGTERM):
    """The batches of a run whose process gets a signal after so many finished steps."""
    for finished, batch in enumerate(batches):
        if finished == step:
            os.kill(os.getpid(), sign)
            time.sleep(0.1)  # Ctrl-C is heard by a thread
        yield batch


def test_sigterm_saves_and_exits_with_42(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Line(), lambda step, rows: stop_in(2, batches_from(step, rows)))
    assert command.main(arguments(tmp_path)) == 42
    assert "saved step 3" in capsys.readouterr().out
    assert (tmp_path / "checkpoints" / "3").exists() and not (tmp_path / "export").exists()
    use(monkeypatch, Line())
    assert command.main(arguments(tmp_path)) == 0


def test_sigterm_again_does_not_cut_the_save(tmp_path, monkeypatch):
    use(monkeypatch, Line(), lambda step, rows: stop_in(1, batches_from(step, rows)))
    close = Checkpoints.__exit__

    def impatient(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        close(*arguments)

    monkeypatch.setattr(Checkpoints, "__exit__", impatient)
    assert command.main(arguments(tmp_path)) == 42
    assert (tmp_path / "checkpoints" / "2").exists()


def test_ctrl_c_saves_and_exits_with_130(tmp_path, monkeypatch, capsys):
    stopped = lambda step, rows: stop_in(2, batches_from(step, rows), signal.SIGINT)  # noqa: E731
    use(monkeypatch, Line(), stopped)
    assert command.main(arguments(tmp_path)) == 130
    out = capsys.readouterr().out
    assert "Ctrl-C: saving; again to end at once" in out and "Ctrl-C: saved step 3" in out
    assert (tmp_path / "checkpoints" / "3").exists() and not (tmp_path / ".lock").exists()
    use(monkeypatch, Line())
    assert command.main(arguments(tmp_path)) == 0
    assert "resuming after step 3" in capsys.readouterr().out


def test_two_runs_in_one_directory(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Line())
    with Workdir(str(tmp_path)):
        before = sorted(tmp_path.iterdir())
        assert command.main(arguments(tmp_path)) == 2
        assert sorted(tmp_path.iterdir()) == before
    assert "another run trains in" in capsys.readouterr().err


def test_a_finished_run_says_so(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Line())
    assert command.main(arguments(tmp_path)) == 0
    assert "step 1 is done, after" in capsys.readouterr().out
    assert command.main(arguments(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "all 6 steps are done" in out and "exported" in out
    assert "preparing" not in out and "compil" not in out


def test_a_failed_start_leaves_no_directory(tmp_path, monkeypatch):
    use(monkeypatch, Line())
    wrong = arguments(tmp_path / "runs/new", "data.batch_size=12")
    assert command.main(wrong) == 2
    assert not list(tmp_path.iterdir())


def test_the_first_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, Line())
    small = ["--config.data.batch_size=8", "--config.steps=2"]
    assert command.main(["train", "--config=configs/var_sar.py", *small]) == 0
    assert capsys.readouterr().out.startswith(
        "preset tiny, as none was given; the others: tiny-level3"
    )
    assert (tmp_path / "runs/var_sar-tiny/export/weights.json").exists()


def test_a_bucket_that_takes_no_checkpoint_is_tried_again(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise BucketError("gs://bucket: a checkpoint was not written: 503")

    use(monkeypatch, Line())
    monkeypatch.setattr(Checkpoints, "save", refuse)
    assert command.main(arguments(tmp_path)) == 42
    assert "interrupted; the same command resumes: gs://bucket" in capsys.readouterr().out


def test_divergence_exits_with_3(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Line(poison_at=4))
    assert command.main(arguments(tmp_path)) == 3
    assert "loss is nan at step 5; last good checkpoint: 4" in capsys.readouterr().out


def test_refuses_to_resume(tmp_path):
    run(make_config(steps=2), tmp_path)
    with pytest.raises(ConfigError, match="has a checkpoint of step 2 and resume='never'"):
        run(make_config(resume="never"), tmp_path)


def test_batch_that_does_not_divide(tmp_path):
    config = make_config()
    config.data.batch_size = 12
    with pytest.raises(ConfigError, match="data.batch_size=12: expected a multiple of 8"):
        run(config, tmp_path)


@pytest.mark.parametrize("workdir", ["/proc/run", __file__])
def test_workdir_that_cannot_be_written(workdir, capsys):
    assert command.main(arguments(workdir)) == 2
    assert capsys.readouterr().err.startswith("error: ")
