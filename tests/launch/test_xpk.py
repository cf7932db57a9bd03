import shlex

import pytest

SCRIPT = "xpk.sh"
TRAINING = ("--config=configs/var_sar.py:2b", "--workdir=gs://b/2b", "--config.mesh.data=(1, 2)")
CLUSTER = {"CLUSTER": "pods", "TYPE": "v5p-128", "IMAGE": "docker.pkg.dev/p/jaxedit"}


def test_a_workload(machine):
    machine.add("xpk")
    assert machine.run(SCRIPT, "sar-2b", *TRAINING, **CLUSTER) == (0, "")
    [call] = machine.calls("xpk")
    *options, command = call
    assert options == [
        *("workload", "create", "--workload=sar-2b", "--cluster=pods", "--tpu-type=v5p-128"),
        *("--num-slices=1", "--docker-image=docker.pkg.dev/p/jaxedit", "--max-restarts=100"),
        "--termination-grace-period-seconds=300",
    ]
    expected = ["exec", "python", "-m", "jaxedit.train", *TRAINING]
    assert shlex.split(command.removeprefix("--command=")) == expected


def test_its_settings(machine):
    machine.add("other")
    settings = {"PROJECT": "p", "ZONE": "z", "SLICES": "4", "RESTARTS": "7", "DRY_RUN": "1"}
    machine.run(SCRIPT, "sar", *TRAINING, XPK="other", **CLUSTER, **settings)
    [call] = machine.calls("other")
    assert {"--num-slices=4", "--max-restarts=7", "--project=p", "--zone=z"} <= set(call)
    assert call[-3:] == ["--dry-run", "--skip-validation", "--output-manifest-file=sar.yaml"]


def test_its_exit_code(machine):
    machine.add("xpk", "exit 7")
    assert machine.run(SCRIPT, "sar", *TRAINING, **CLUSTER) == (7, "")


@pytest.mark.parametrize("missing", list(CLUSTER))
def test_a_missing_setting(machine, missing):
    machine.add("xpk")
    code, out = machine.run(SCRIPT, "sar", *TRAINING, **CLUSTER | {missing: ""})
    assert code == 2 and out == f"error: {missing} is missing: set it before the command\n"
    assert machine.calls("xpk") == []


def test_a_workdir_that_would_be_lost(machine):
    code, out = machine.run(SCRIPT, "sar", "--workdir=runs/2b", **CLUSTER)
    assert code == 2 and out.startswith("error: expected --workdir=gs://...")


def test_usage(machine):
    code, out = machine.run(SCRIPT, "sar")
    assert code == 2 and "launch/xpk.sh NAME training arguments" in out
