"""The scripts `batch_slurm.sh` and `batch_ray.sh`, with stand-ins for SLURM, ssh and Ray."""

import pytest
from machine import LAUNCH

from jaxedit.editor.__main__ import make_parser

LIST = ("--batch=list.jsonl", "--output=/shared/a b", "--model=toy-varedit")


@pytest.fixture
def cluster(machine, monkeypatch):
    """A checkout with an environment whose Python and Ray are stand-ins."""
    (machine.directory / "env/bin").mkdir(parents=True)
    for name in ("python", "ray"):
        machine.add(name)
        (machine.directory / f"env/bin/{name}").symlink_to(machine.directory / f"bin/{name}")
    monkeypatch.setenv("VENV", str(machine.directory / "env"))
    monkeypatch.setenv("SLURM_SUBMIT_DIR", str(machine.directory))
    return machine


def test_an_array_and_a_last_job(cluster):
    cluster.add("sbatch", '[[ " $* " == *" --array="* ]] && echo "41;north" || echo "42;north"')
    code, out = cluster.run("batch_slurm.sh", "8", "--gpus=1", "--time=4:00:00", "--", *LIST)
    assert code == 0 and "jobs 41_[0-7] make the shards, and job 42 then joins them" in out
    array, last = cluster.calls("sbatch")
    assert {"--gpus=1", "--time=4:00:00", "--requeue"} <= {*array} & {*last}
    assert "--array=0-7" in array and "--dependency=afterany:41" in last

    for call, task, shard in ((array, "3", ["--shard=3/8"]), (last, "", [])):
        script, *arguments = call[call.index(str(LAUNCH / "batch_slurm.sh")) :]
        assert cluster.run("batch_slurm.sh", *arguments, SLURM_ARRAY_TASK_ID=task)[0] == 0
        [module, *given] = cluster.calls("python")[-1][1:]
        assert module == "jaxedit" and given == [*LIST, *shard]
        assert str(make_parser().parse_args(given).shard) == ("3/8" if task else "None")


def test_ray_on_all_hosts(cluster):
    cluster.add("ssh")
    code, out = cluster.run("batch_ray.sh", *LIST, WORKERS="3", HOSTS="one two")
    assert code == 0, out
    starts, stops = cluster.calls("ssh")[:2], cluster.calls("ssh")[2:]
    assert [call[-2] for call in starts] == [call[-2] for call in stops] == ["one", "two"]
    assert all("ray start --address=" in call[-1] for call in starts)
    assert all("ray stop" in call[-1] for call in stops)
    assert [call[0] for call in cluster.calls("ray")] == ["start", "stop"]
    [[_, module, *given]] = cluster.calls("python")
    assert module == "jaxedit" and given == ["--engine=ray", "--workers=3", *LIST]
    args = make_parser().parse_args(given)
    assert (args.engine, args.workers) == ("ray", 3)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("batch_slurm.sh", ["many", "--", *LIST]),
        ("batch_slurm.sh", ["8", "--gpus=1", *LIST]),  # no --
        ("batch_ray.sh", LIST),  # no WORKERS
    ],
)
def test_usage(cluster, script, arguments):
    cluster.add("sbatch")
    code, out = cluster.run(script, *arguments)
    assert code == 2 and f"launch/{script}" in out and not cluster.calls("sbatch")
