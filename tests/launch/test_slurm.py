"""`slurm_gpu.sbatch` with an srun that starts its tasks on this machine."""

import os
import random
import signal
import sys

import line
import pytest
from machine import LAUNCH, copy_sources, ended, until

SCRIPT = "slurm_gpu.sbatch"
TRAINING = ("--config=configs/var_sar.py:tiny", "--workdir=run", "--config.data.batch_size=8")

# two tasks, each with its number; the highest exit code is srun's own
SRUN = """
while [[ $1 == --* ]]; do shift; done
export SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost
code=0
for i in 0 1; do
  SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & echo $! >task-$i
done
for i in 0 1; do
  wait "$(cat task-$i)"; status=$?
  [ $status -le $code ] || code=$status
done
exit $code
"""


@pytest.fixture
def cluster(machine, monkeypatch):
    """A job in a checkout, with an environment whose Python is a stand-in."""
    for part in ("launch", "configs"):
        copy_sources(LAUNCH.parent / part, machine.directory / part)
    job = str(random.randrange(1, 4096))  # names the port of the coordinator
    environment = {"SLURM_JOB_ID": job, "SLURM_SUBMIT_DIR": machine.directory, "VENV": "env"}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    machine.add("srun", SRUN)
    machine.add("scontrol")
    machine.job = job
    (machine.directory / "env/bin").mkdir(parents=True)
    return machine


@pytest.fixture
def python(cluster):
    """Give the environment this program for a Python."""

    def make(script):
        cluster.add("python", script)
        (cluster.directory / "env/bin/python").symlink_to(cluster.directory / "bin/python")

    return make


def terminate_tasks(cluster):
    for task in (0, 1):
        note = cluster.directory / f"task-{task}"  # srun writes it while the task runs already
        until(lambda: note.exists() and note.read_text().endswith("\n"))  # noqa: B023
        os.kill(int(note.read_text()), signal.SIGTERM)


@pytest.mark.parametrize(
    ("codes", "expected", "is_queued"),
    [
        ((0, 0), 0, False),
        ((42, 42), 42, True),
        ((42, 137), 137, True),
        ((2, 2), 2, False),
        ((134, 2), 2, False),  # the first misses the second, for which nothing will change
    ],
)
def test_what_is_queued_again(cluster, python, codes, expected, is_queued):
    python(f'codes=({codes[0]} {codes[1]}); exit "${{codes[SLURM_PROCID]}}"')
    code, out = cluster.run(SCRIPT, *TRAINING)
    assert code == expected
    assert cluster.calls("python") == 2 * [["-m", "jaxedit.train", "--distributed=on", *TRAINING]]
    assert cluster.calls("scontrol") == ([["requeue", cluster.job]] if is_queued else [])
    assert cluster.calls("srun")[0][:2] == ["--kill-on-bad-exit=0", "--wait=0"]
    assert ("queueing job" in out) is is_queued
    assert not list(cluster.directory.glob("*.final"))


def test_it_is_not_queued_for_ever(cluster, python):
    python("exit 42")
    restarts = {"SLURM_RESTART_COUNT": "3"}
    assert cluster.run(SCRIPT, *TRAINING, RESTARTS="3", **restarts)[0] == 42
    assert cluster.calls("scontrol") == []
    assert cluster.run(SCRIPT, *TRAINING, RESTARTS="4", **restarts)[0] == 42
    assert len(cluster.calls("scontrol")) == 1


def test_a_cancelled_job_is_not_queued(cluster, python):
    python("trap 'exit 42' TERM; touch up-$SLURM_PROCID; while :; do sleep 0.05; done")
    job = cluster.start(SCRIPT, *TRAINING)
    for task in (0, 1):
        until((cluster.directory / f"up-{task}").exists, job)
    job.send_signal(signal.SIGTERM)  # SLURM signals everything of the job
    terminate_tasks(cluster)
    assert ended(job)[0] == 42 and cluster.calls("scontrol") == []


@pytest.mark.slow
def test_two_processes_train_and_save_when_the_time_is_over(cluster, python):
    python(f'shift 2; exec {sys.executable} {line.__file__} "$@"')
    metrics = cluster.directory / "run/metrics.jsonl"
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    job = cluster.start(SCRIPT, *TRAINING, "--config.log_every=1", **environment)
    until(lambda: metrics.exists() and metrics.read_text(), job)
    terminate_tasks(cluster)
    code, out = ended(job)
    assert code == 42 and cluster.calls("scontrol") == [["requeue", cluster.job]], out
    assert out.count("SIGTERM: saved step") == 2
    assert "process 1 of 2 on" in out


def test_usage(cluster):
    code, out = cluster.run(SCRIPT)
    assert code == 2 and "Usage: sbatch [options of sbatch] launch/slurm_gpu.sbatch" in out
