import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from jaxedit.config import ConfigError, MeshConfig
from jaxedit.sharding import distributed
from jaxedit.sharding.mesh import make_mesh


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_PROCESS_ADDRESSES": "a:8476,b:8476"}, True),
        ({"SLURM_NTASKS": "4"}, False),  # inside an allocation, but not started by srun
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-4]"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234"}, True),
    ],
)
def test_in_cluster(environment, expected):
    assert distributed.in_cluster(environment) is expected


def test_cluster_of():
    environment = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
    assert distributed.cluster_of(environment) == (None, 2, 0)
    assert distributed.cluster_of({}) == (None, None, None)


def test_a_single_process_joins_nobody():
    distributed.join("auto", {})
    distributed.join("off", {"JAX_COORDINATOR_ADDRESS": "nowhere:1"})
    assert not jax.distributed.is_initialized()


def test_one_of_several_hosts_must_join(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(ConfigError, match="one of 4 hosts: .* --distributed=on"):
        distributed.join("auto", {})


def test_no_cluster_is_told_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise ValueError("coordinator_address should be defined.\nmore")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(OSError, match="should be defined. .was the command started on every host"):
        distributed.join("on", {})


def test_a_process_introduces_itself(caplog):
    with caplog.at_level("INFO"):
        distributed.log_process(make_mesh(MeshConfig(data=2, fsdp=-1)))
    (message,) = caplog.messages
    assert message.startswith("process 0 of 1 on ") and "8 of 8 devices (cpu" in message
    assert message.endswith("mesh data=2 fsdp=4 tensor=1") and f"jax {jax.__version__}" in message


@pytest.fixture
def others(monkeypatch):
    """Pretend to be process 1 of 3; `others(change)` replaces process 2's hashes."""
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: 1)

    def set_change(change):
        gather = lambda mine: np.stack([mine, mine, change(mine)])  # noqa: E731
        monkeypatch.setattr(multihost_utils, "process_allgather", gather)

    return set_change


def test_processes_that_agree(others):
    others(lambda hashes: hashes)
    distributed.assert_same_on_all_hosts({"steps": 3, "rate": 1e-4})


def test_processes_that_do_not_agree(others):
    others(lambda hashes: hashes if len(hashes) == 3 else hashes ^ np.array([[0], [1]], np.uint32))
    message = "process 2 differs from process 0 in rate .in process 1, rate is 0.1.: start the same"
    with pytest.raises(ConfigError, match=message):
        distributed.assert_same_on_all_hosts({"steps": 3, "rate": 0.1})


def test_hosts_with_different_versions(others):
    others(lambda hashes: hashes ^ np.array([[1], [0], [0]], np.uint32))
    with pytest.raises(ConfigError, match="process 2 differs from process 0 in jaxedit: install"):
        distributed.assert_same_on_all_hosts({"steps": 3})


def test_errors_of_a_lost_process(monkeypatch):
    error = RuntimeError("FAILED_PRECONDITION: Gloo all-reduce failed: Connection closed by peer")
    assert not distributed.has_lost_a_process(error)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert distributed.has_lost_a_process(error)
    assert not distributed.has_lost_a_process(RuntimeError("RESOURCE_EXHAUSTED: out of memory"))
    unwritten = OSError("a checkpoint was not written")
    assert not distributed.has_lost_a_process(unwritten)
    unwritten.__cause__ = ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
    assert distributed.has_lost_a_process(unwritten)
    assert distributed.has_lost_a_process(TimeoutError("async_write_complete"))
    nccl = "INTERNAL: NCCL operation failed: remote process exited or there was a network error"
    assert distributed.has_lost_a_process(RuntimeError(nccl))
