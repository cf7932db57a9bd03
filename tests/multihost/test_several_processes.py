"""Two and four processes against one: a story of losses, kills and resumptions."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import line
import numpy as np
import pytest
from line import Line, batches_from, data_of, validated
from safetensors.numpy import load_file

from jaxedit.train import __main__ as command
from jaxedit.train.objectives import registry

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / "launch" / "local_multiprocess.sh"
PATIENCE = 500  # seconds; an idle machine needs ten
STEPS = 300
RESTARTED = (42, 128 + signal.SIGABRT)  # what job queues start again; the second is jax's own
SETTINGS = [
    *("--config=configs/var_sar.py:tiny", "--config.data.batch_size=8", f"--config.steps={STEPS}"),
    *(
        "--config.log_every=1",
        "--config.sample_every=200",
        "--config.eval_every=60",
        "--config.optim.warmup_steps=2",
    ),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where all processes keep their compiled programs."""
    return tmp_path_factory.mktemp("cache")


def keep_in(cache):
    """The environment of processes that keep large programs there, as users' do."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1",
    }


def start(workdir, cache, *settings, processes=2, hold=""):
    """Some processes with four devices together."""
    train = [sys.executable, line.__file__, *SETTINGS, f"--workdir={workdir}"]
    train += [f"--config.{setting}" for setting in settings]
    return subprocess.Popen(
        [LAUNCH, str(processes), str(4 // processes), *train],
        env=os.environ | keep_in(cache) | {"HOLD": hold},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def together(cache, processes, devices, *command):
    """The end of a command that some processes run, each with some devices."""
    return subprocess.run(
        [LAUNCH, str(processes), str(devices), *command],
        env=os.environ | keep_in(cache),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
    )


def children(pair):
    """Process ids by number of the process."""
    out = {}
    listed = pathlib.Path(f"/proc/{pair.pid}/task/{pair.pid}/children").read_text().split()
    for pid in map(int, listed):
        pairs = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        number = dict(p.split(b"=", 1) for p in pairs if b"=" in p).get(b"JAX_PROCESS_ID")
        if number is not None and b"line.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            out[int(number)] = pid
    return out


def reports(workdir):
    """Step -> report."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(text) for text in lines if text.endswith("\n") and "val/loss" not in text]
    return {report["step"]: report for report in found}


def until(condition, pair):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert pair.poll() is None, pair.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


def ended(pair):
    """(exit code, output) of a pair that ends by itself."""
    out, _ = pair.communicate(timeout=PATIENCE)
    return pair.returncode, out


def in_this_process(workdir, monkeypatch, *settings, devices=8):
    monkeypatch.setattr(registry, "build", lambda c: (Line(), data_of(batches_from, **validated())))
    some = jax.local_devices()[:devices]
    monkeypatch.setattr(jax, "devices", lambda: some)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    changes = [f"--config.{setting}" for setting in settings]
    assert command.main(["train", *SETTINGS, f"--workdir={workdir}", *changes]) == 0


def validations(workdir, name="val/loss"):
    """Step -> metric of a validation."""
    found = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {report["step"]: report[name] for report in found if name in report}


def assert_same_run(found, expected):
    for step, report in found.items():
        assert report["data"] == expected[step]["data"], step  # bit for bit
        assert report["loss"] == pytest.approx(expected[step]["loss"], abs=1e-6), step


def saved(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def test_a_run_that_loses_processes_equals_one_process(tmp_path, cache, monkeypatch):
    in_this_process(tmp_path / "whole", monkeypatch, devices=4)
    expected = reports(tmp_path / "whole")
    assert len(expected) == STEPS
    workdir = tmp_path / "parts"

    # kill -9 of one process: the other waits for it, notices, and asks to be started again
    pair = start(workdir, cache, "checkpoint_every=20")
    until(lambda: len(reports(workdir)) > 30 and saved(workdir), pair)
    os.kill(children(pair)[1], signal.SIGKILL)
    code, out = ended(pair)
    assert code in RESTARTED, out
    assert "another task died" in out or "another process has ended" in out
    for number in range(2):
        assert f"process {number} of 2 on " in out and "2 of 4 devices" in out
    assert_same_run(reports(workdir), expected)
    newest, seen = saved(workdir)[-1], max(reports(workdir))

    # SIGTERM to one of four, on another mesh: all save the same step
    mesh = ("mesh.data=2", "mesh.fsdp=2")
    pair = start(workdir, cache, "checkpoint_every=1000", *mesh, processes=4)
    until(lambda: max(reports(workdir), default=0) > seen, pair)
    os.kill(children(pair)[1], signal.SIGTERM)
    code, out = ended(pair)
    assert code == 42, out
    stopped = saved(workdir)[-1]
    assert out.count(f"SIGTERM: saved step {stopped}") == 4
    assert f"resuming after step {newest}" in out and "--config.mesh.fsdp was 1, is 2" in out
    assert_same_run(reports(workdir), expected)

    # kill -9 of both while the next checkpoint is written
    hold = stopped + 20 - stopped % 10
    pair = start(
        workdir, cache, "checkpoint_every=10", "mesh.data=1", "mesh.tensor=4", hold=f"{hold}"
    )
    unfinished = f"{hold}.orbax-checkpoint-tmp*/_CHECKPOINT_METADATA"
    until(lambda: list((workdir / "checkpoints").glob(unfinished)), pair)
    running = children(pair)
    for number in (1, 0):  # in this order: the others end when the first has gone
        os.kill(running[number], signal.SIGKILL)
    assert ended(pair)[0] == 128 + signal.SIGKILL
    assert saved(workdir)[-1] == hold - 10

    # the rest on one process and a mesh of eight devices
    in_this_process(workdir, monkeypatch, "mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2")
    assert f"resuming after step {hold - 10}" in (workdir / "log.txt").read_text()
    assert len(reports(workdir)) == STEPS
    assert_same_run(reports(workdir), expected)
    whole, found = validations(tmp_path / "whole"), validations(workdir)
    assert list(whole) == [60, 120, 180, 240, 300] and len(found) >= 4  # SIGTERM may skip one
    for step, loss in found.items():  # on several meshes
        assert loss == pytest.approx(whole[step], abs=1e-6), step
    edits = validations(workdir, "val/success")
    assert edits.keys() == found.keys()
    whole = validations(tmp_path / "whole", "val/success")
    assert edits == pytest.approx({step: whole[step] for step in edits}, abs=1e-4)
    assert sorted(p.name for p in (workdir / "samples").iterdir())[-1] == f"{STEPS:07d}.png"


def test_processes_that_were_started_differently(tmp_path, cache):
    train = [sys.executable, line.__file__, *SETTINGS, f"--workdir={tmp_path}"]
    different = 'exec "$@" --config.steps=$((7 + JAX_PROCESS_ID))'
    pair = together(cache, 2, 1, "bash", "-c", different, "bash", *train)
    assert pair.returncode == 2, pair.stdout
    for number in range(2):
        assert (
            f"[{number}] error: process 1 differs from process 0 in --config.steps (in process "
            f"{number}, --config.steps is {7 + number}): start the same command on every host"
        ) in pair.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        ("var_sar.py:tiny",),
        ("editar.py:tiny", "editar.tokenizer=toy-editar"),
        ("finetune.py:tiny", "data.source=toy"),
        ("tokenizer_bsq.py:tiny",),
        ("tokenizer_vq.py:tiny",),
    ],
    ids=lambda config: config[0],
)
def test_each_model_draws_and_exports_as_in_one_process(tmp_path, cache, config):
    settings = ("steps=3", "data.batch_size=8", "log_every=1", "sample_every=2", "sample_rows=2")
    changes = [f"--config.{setting}" for setting in (*settings, *config[1:])]
    train = [sys.executable, "-m", "jaxedit.train", f"--config=configs/{config[0]}", *changes]
    found = []
    for processes in (1, 2):
        workdir = tmp_path / str(processes)
        done = together(cache, processes, 2 // processes, *train, f"--workdir={workdir}")
        assert done.returncode == 0, done.stdout
        assert sorted(p.name for p in (workdir / "samples").iterdir())[-1] == "0000003.png"
        weights = load_file(workdir / "export/model.safetensors")
        losses = [report["loss"] for report in reports(workdir).values()]
        found.append((losses, weights, validations(workdir, "val/psnr_background")))
    (losses, one, psnr), (expected, two, expected_psnr) = found
    assert psnr == pytest.approx(expected_psnr, abs=0.01)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5, err_msg=name)


def test_workdirs_that_are_not_shared(tmp_path, cache):
    """Both have a directory of the same name, each on its own disk."""
    train = [sys.executable, line.__file__, *SETTINGS, "--workdir=run"]
    apart = f'mkdir {tmp_path}/$JAX_PROCESS_ID && cd {tmp_path}/$JAX_PROCESS_ID && exec "$@"'
    done = together(cache, 2, 1, "bash", "-c", apart, "bash", *train)
    assert done.returncode == 2, done.stdout
    message = "run: process 1 cannot see what process 0 writes there: expected storage that all"
    assert done.stdout.count(message) == 2
    assert not (tmp_path / "0/run").exists()


@pytest.mark.parametrize("arguments", [(), ("2", "2"), ("0", "2", "true"), ("2", "x", "true")])
def test_launcher_shows_its_usage(arguments):
    done = subprocess.run([LAUNCH, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Run one command in N processes")


def test_launcher_returns_the_first_failure():
    command = ["bash", "-c", "exit $((JAX_PROCESS_ID * 3))"]
    assert subprocess.run([LAUNCH, "3", "1", *command]).returncode == 3
