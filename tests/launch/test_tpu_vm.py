"""`tpu_vm.sh` against a gcloud that keeps two TPU VMs as two directories of this machine."""

import os
import re
import shlex
import signal
import subprocess

import pytest
from machine import LAUNCH, copy_sources, ended, put, until

WHERE = ("--name=sar", "--zone=us-east5-a")
TYPE = "--type=v5litepod-8"
TRAINING = ("--", "--config=configs/var_sar.py:tiny", "--workdir=gs://bucket/a b")

GCLOUD = """
exec 3>&-
cd "$WORLD" && shift 2
case "$1 $2" in
  "queued-resources list") cat state 2>/dev/null || true ;;
  "queued-resources create") mkdir -p vm-0 vm-1 && echo ACTIVE >state ;;
  "queued-resources delete") rm -rf vm-0 vm-1 state ;;
  "tpu-vm scp") for vm in vm-?; do cp "$3" "$vm/${4#*:}"; done ;;
  "tpu-vm ssh")
    for vm in vm-?; do
      (cd $vm && HOME=$PWD bash -c "${5#--command=}") || failed=yes
    done
    [ -z "${failed:-}" ] ;;
esac
"""
# stands for the installer; what it installs as Python trains until somebody writes `code`
UV = """
[ "$1" = venv ] && mkdir -p .venv/bin && cat >.venv/bin/python <<'PYTHON'
#!/usr/bin/env bash
trap 'exit 42' TERM
echo "step 1"; printf -v line '%s|' "$@"; echo "$line" >>~/starts
until [ -f "$WORLD/code" ] || [ -f ~/code ]; do sleep 0.05; done
exit "$(cat ~/code "$WORLD/code" 2>/dev/null | head -n 1)"
PYTHON
chmod +x .venv/bin/python; true
"""


@pytest.fixture
def cloud(machine, monkeypatch):
    machine.add("gcloud", GCLOUD)
    machine.add("uv", UV)
    checkout = machine.directory / "checkout"
    for part in ("launch", "configs"):
        copy_sources(LAUNCH.parent / part, checkout / part)
    (checkout / "tests").mkdir()
    (checkout / "tests/test_it.py").touch()
    subprocess.run(["git", "init", "--quiet", checkout], check=True)
    machine.script = checkout / "launch/tpu_vm.sh"
    settings = {"WORLD": machine.directory, "PERIOD": "0.2", "PAUSE": "0.1", "TRIES": "1000"}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    yield machine
    for vm in machine.directory.glob("vm-?"):
        kill(vm)


def kill(vm):
    """A VM that is switched off."""
    if (vm / "jaxedit/run.pid").exists():
        group = int((vm / "jaxedit/run.pid").read_text())
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass


def starts(cloud):
    """The commands that were started on each VM, one after another."""
    files = [vm / "starts" for vm in sorted(cloud.directory.glob("vm-?"))]
    return [f.read_text().splitlines() if f.exists() else [] for f in files]


def verbs(cloud):
    """What gcloud was asked for."""
    return [" ".join(call[2:4]) for call in cloud.calls("gcloud")]


def told(out):
    """What the script said itself, without the time of day."""
    return re.findall(r"^\d\d:\d\d:\d\d (.*)$", out, re.M)


def both(cloud, number=1):
    """Whether training was started so often on both VMs."""
    return lambda: [len(lines) for lines in starts(cloud)] == [number, number]


def test_a_run_outlives_the_loss_of_its_tpu(cloud):
    run = cloud.start(cloud.script, "run", *WHERE, TYPE, "--spot", *TRAINING)
    until(both(cloud), run)
    assert cloud.calls("gcloud")[1][2:] == [
        *("queued-resources", "create", "sar", "--accelerator-type=v5litepod-8"),
        *("--runtime-version=v2-alpha-tpuv5-lite", "--node-id=sar", "--spot"),
        *("--zone=us-east5-a", "--quiet"),
    ]
    expected = f"-m|jaxedit.train|--distributed=on|{'|'.join(TRAINING[1:])}|"
    assert starts(cloud) == [[expected], [expected]]
    copied = cloud.directory / "vm-1/jaxedit"
    assert (copied / "configs/var_sar.py").exists() and not (copied / "tests").exists()

    # taken away: asked for again, set up again, started again
    for vm in cloud.directory.glob("vm-?"):
        kill(vm)
        vm.rename(cloud.directory / f"gone-{vm.name}")  # at once, whoever looks into it
    put(cloud.directory / "state", "SUSPENDED\n")
    until(both(cloud), run)
    assert verbs(cloud).count("queued-resources delete") == 1
    assert verbs(cloud).count("queued-resources create") == 2

    # one VM starts anew: training is started again there, and only there
    kill(cloud.directory / "vm-1")
    until(lambda: [len(lines) for lines in starts(cloud)] == [1, 2], run)

    # a crash: the VM starts again by itself
    put(cloud.directory / "vm-0/code", "137")
    until(lambda: len(starts(cloud)[0]) > 1, run)

    put(cloud.directory / "code", "0")
    (cloud.directory / "vm-0/code").unlink()  # went before the other while it was there
    code, out = ended(run)
    assert code == 0 and told(out)[:2] == ["sar is ABSENT", "starting the training"]
    assert told(out).count("sar is SUSPENDED") == 1
    assert told(out)[-1] == "training has ended; launch/tpu_vm.sh delete ends the costs"


def test_one_may_stop_watching_and_come_back(cloud):
    run = cloud.start(cloud.script, "run", *WHERE, TYPE, *TRAINING)
    until(both(cloud), run)
    run.send_signal(signal.SIGINT)
    code, out = ended(run)
    assert code == 130 and "the training goes on; the same command watches it again" in out
    code, out = cloud.run(cloud.script, "status", *WHERE)
    words = re.findall(r"^state running \S+: step 1$", out, re.M)
    assert code == 0 and out.startswith("sar is ACTIVE\n") and len(words) == 2

    run = cloud.start(cloud.script, "run", *WHERE, TYPE, *TRAINING)
    assert told(run.stdout.readline()) == ["training"]
    put(cloud.directory / "code", "0")
    assert ended(run)[0] == 0 and both(cloud)()
    assert verbs(cloud).count("queued-resources create") == 1


def test_an_error_of_the_training_ends_the_run(cloud):
    run = cloud.start(cloud.script, "run", *WHERE, TYPE, *TRAINING)
    until(both(cloud), run)
    for vm, code in ("vm-0", "134"), ("vm-1", "2"):  # the first misses the second
        put(cloud.directory / vm / "code", code)
    code, out = ended(run)
    assert code == 2 and "error: training ended with exit code 2" in out
    assert re.search(r"^state 2 \S+: step 1$", out, re.M)
    until((cloud.directory / "vm-0/jaxedit/run.code").exists)  # the other one was stopped


def test_each_command(cloud):
    assert cloud.run(cloud.script, "create", *WHERE, TYPE)[0] == 0
    assert "idle" in cloud.run(cloud.script, "status", *WHERE)[1]
    assert cloud.run(cloud.script, "setup", *WHERE)[0] == 0
    assert (cloud.directory / "vm-0/jaxedit/.venv").exists()
    cloud.add("tail", "echo step 7")
    assert cloud.run(cloud.script, "logs", *WHERE, "--worker=1") == (0, 2 * "step 7\n")
    assert cloud.calls("gcloud")[-1][3:6] == ["ssh", "sar", "--worker=1"]
    assert cloud.run(cloud.script, "stop", *WHERE)[0] == 0
    assert cloud.run(cloud.script, "delete", *WHERE, "--project=p")[0] == 0
    assert cloud.calls("gcloud")[-1][2:] == [
        *("queued-resources", "delete", "sar", "--force"),
        *("--zone=us-east5-a", "--quiet", "--project=p"),
    ]
    assert not list(cloud.directory.glob("vm-?"))


def test_slices(cloud):
    code, out = cloud.run(
        cloud.script, "run", *WHERE, TYPE, "--slices=2", "--runtime=other", *TRAINING, DRY_RUN="1"
    )
    commands = [shlex.split(line) for line in out.splitlines() if line.startswith("gcloud ")]
    assert code == 0 and cloud.calls("gcloud") == []
    assert {"--node-count=2", "--node-prefix=sar", "--runtime-version=other"} <= set(commands[1])
    reached = [c[5] for c in commands if c[4] == "ssh" and " start " in c[7]]
    assert reached == ["sar-0", "sar-1"]
    assert [c[6] for c in commands if c[4] == "scp"] == [f"sar-{i}:jaxedit.tar.gz" for i in (0, 1)]
    start = next(c[7] for c in commands if " start " in c[7])
    assert shlex.split(start)[2:] == list(TRAINING[1:])


def test_what_gcloud_refuses(cloud):
    cloud.add("gcloud", "exit 1")
    code, out = cloud.run(cloud.script, "create", *WHERE, TYPE)
    assert code == 2 and "error: gcloud did not answer" in out
    cloud.add("gcloud", '[ "$4" = list ]')
    code, out = cloud.run(cloud.script, "create", *WHERE, TYPE)
    assert code == 2 and "error: gcloud refused the request" in out


def test_an_installation_that_never_works(cloud):
    cloud.add("uv", "echo no space left; exit 1")
    code, out = cloud.run(cloud.script, "run", *WHERE, TYPE, *TRAINING)
    assert code == 2 and "error: setup has failed five times in a row" in out
    assert "no space left" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", *WHERE, TYPE, "--", "--workdir=runs/here"], "after -- comes --workdir=gs://...:"),
        (["run", *WHERE, TYPE, "--config=x"], "unknown argument --config=x (arguments of the"),
        (["run", *WHERE, *TRAINING], "--type is missing, e.g. --type=v5litepod-16"),
        (["create", *WHERE, "--type=tpu7x-8"], "--type=tpu7x-8: expected v4-N, v5litepod-N, v5p-N"),
        (["create", "--name=Sar", "--zone=a", TYPE], "--name=Sar: expected small letters, digits"),
        (["status", "--name=sar"], "--zone is missing, e.g. --zone=us-east5-a"),
        (["status", *WHERE, "--slices=0"], "--slices=0: expected a whole number above 0"),
    ],
)
def test_wrong_arguments(cloud, arguments, message):
    code, out = cloud.run(cloud.script, *arguments)
    assert code == 2 and out.startswith(f"error: {message}") and len(out.splitlines()) == 1
    assert cloud.calls("gcloud") == []


@pytest.mark.parametrize("arguments", [(), ("fly", *WHERE)])
def test_usage(cloud, arguments):
    code, out = cloud.run(cloud.script, *arguments)
    assert code == 2 and "Usage: launch/tpu_vm.sh COMMAND" in out and "DRY_RUN=1" in out
