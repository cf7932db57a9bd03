"""Jobs on a Ray cluster of two nodes, one of which dies; needs the extra `ray`."""

import pathlib
import threading
import time

import pytest

from jaxedit.config import ConfigError
from jaxedit.engines.engine import run_jobs
from jaxedit.engines.ray import _accelerators


def write(job, seen):
    """Write a file per job, and a line with the node of each attempt."""
    import ray

    folder, number = job
    folder = pathlib.Path(folder)
    with (folder / f"{number}.attempts").open("a", encoding="utf-8") as file:
        file.write(f"{ray.get_runtime_context().get_node_id()}\n")
    time.sleep(2)
    (folder / f"{number}.txt").write_text(str(number), "utf-8")
    seen()


def fail(job, seen):
    raise ValueError("expected something else")


def test_it_is_named_if_it_is_not_installed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxedit\[ray\]'"):
        run_jobs(write, [], print, engine="ray", workers=1)


def test_a_task_takes_a_gpu_or_all_chips_of_a_host():
    assert _accelerators([{"CPU": 8.0}]) == {}
    assert _accelerators([{"CPU": 8.0, "GPU": 8.0}, {"CPU": 2.0}]) == {"num_gpus": 1}
    hosts = [{"CPU": 2.0}, {"CPU": 112.0, "TPU": 4.0, "TPU-v5e-16-head": 1.0}]
    assert _accelerators(hosts) == {"resources": {"TPU": 4.0}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_dies_loses_nothing(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    doomed = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    monkeypatch.chdir(tmp_path)  # where the nodes are not
    try:
        jobs, seen = [(".", number) for number in range(6)], []

        def kill():
            """Remove the node as soon as it works on a job."""
            while not any(doomed.node_id in p.read_text() for p in tmp_path.glob("*.attempts")):
                time.sleep(0.05)
            cluster.remove_node(doomed, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        run_jobs(write, jobs, lambda: seen.append(True), engine="ray", workers=2)
        killer.join()
        assert len(seen) == 6  # nothing twice
        assert sorted(p.stem for p in tmp_path.glob("*.txt")) == list("012345")
        attempts = [len(p.read_text().splitlines()) for p in tmp_path.glob("*.attempts")]
        assert sum(attempts) > 6  # a job was begun again
        with pytest.raises(OSError, match="expected something else"):
            run_jobs(fail, [0], print, engine="ray", workers=1)
    finally:
        ray.shutdown()
        cluster.shutdown()
