import importlib.util

import jax
import pytest

from jaxedit.config import ConfigError
from jaxedit.planning import topology
from jaxedit.planning.topology import devices_of, memory_of_pod, pod


@pytest.mark.parametrize(
    ("name", "devices", "slices", "layout", "gb"),
    [
        ("v5e-1", 1, 1, "v5e:1x1", 16),
        ("v5litepod-8", 8, 1, "v5e:2x4", 16),
        ("v5e-256", 256, 1, "v5e:16x16", 16),
        ("v6e-64", 64, 1, "v6e:8x8", 32),
        ("v5p-8", 4, 1, "v5p:2x2x1", 95),  # TensorCores: two of each chip
        ("v5p-128", 64, 1, "v5p:4x4x4", 95),
        ("v5p-256", 128, 1, "v5p:4x4x8", 95),
        ("v4-32", 16, 1, "v4:2x2x4", 32),
        ("tpu7x-128", 128, 1, "tpu7x:4x4x4", 96),  # a chip is two devices
        ("2xv5e-256", 512, 2, "v5e:16x16", 16),
        ("8xH100", 8, 1, "", 80),
        ("16xA100-80GB", 16, 1, "", 80),
        ("8xA100-40GB", 8, 1, "", 40),
    ],
)
def test_machines_by_name(name, devices, slices, layout, gb):
    found = pod(name)
    assert (found.devices, found.slices, found.topology) == (devices, slices, layout)
    assert memory_of_pod(found).nbytes == gb * 1e9


def test_memory_that_is_not_known_may_be_given():
    assert memory_of_pod(pod("gpu-8")).nbytes is None
    assert memory_of_pod(pod("gpu-8"), 24).nbytes == 24e9
    with pytest.raises(ConfigError, match="--memory_gb=0: expected a positive number"):
        memory_of_pod(pod("gpu-8"), 0)


@pytest.mark.parametrize(
    "name", ["", "v5p", "v9-8", "8xabacus", "0xH100", "gpu-0", "2xgpu-8", "v5p-128-x", "1xTPU v4"]
)
def test_unknown_machines(name):
    with pytest.raises(ConfigError, match=f"--devices={name}: expected a name such as v5e-256, "):
        pod(name)


@pytest.mark.parametrize(
    ("name", "sizes"), [("v5p-7", "8, 16, 32"), ("v5p-24", "8, 16"), ("v5e-3", "1, 4, 8, 16, 32")]
)
def test_slices_that_are_not_built(name, sizes):
    with pytest.raises(ConfigError, match=f"--devices={name}: expected a slice of {sizes}"):
        pod(name)


def test_simulated_devices(monkeypatch):
    monkeypatch.setattr(topology, "compiles_for_tpus", lambda: False)
    assert devices_of(pod("v5p-16")) == jax.devices("cpu")[:8]
    with pytest.raises(ConfigError, match="v5p-32: 16 devices, but this process has 8"):
        devices_of(pod("v5p-32"))


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the package libtpu")
@pytest.mark.parametrize(
    "name", ["v4-16", "v5e-1", "v5p-16", "v6e-8", "tpu7x-16", "2xv5e-8", "v5e-256", "v5p-4096"]
)
def test_described_tpus(name):
    devices = devices_of(pod(name))
    assert len(devices) == pod(name).devices
    assert devices[0].platform == "tpu" and devices[0].device_kind == pod(name).kind
