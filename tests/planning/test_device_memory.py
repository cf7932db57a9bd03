from unittest import mock

import jax
import jax.numpy as jnp
import pytest

from jaxedit.config import ConfigError, MeshConfig
from jaxedit.planning.device_memory import (
    DeviceMemory,
    MemoryItem,
    MemorySaving,
    bytes_per_device,
    fits,
    memory_of_device,
    peak_flops,
    table,
)
from jaxedit.sharding.mesh import abstract_mesh

PARAMS = {
    "transformer": {"blocks": {"mlp": {"up": {"kernel": jnp.zeros((2, 64, 32))}}}},
    "bsq": {"conv": {"kernel": jnp.zeros((4, 4))}},
}


def device(kind, stats=None, platform="tpu"):
    said = {"device_kind": kind, "memory_stats": lambda: stats, "platform": platform}
    return mock.NonCallableMock(spec=jax.Device, **said)


@pytest.mark.parametrize(
    ("mesh", "kernel"),
    [
        ({"data": 8}, 16384),  # copies
        ({"data": 2, "fsdp": 4}, 16384 / 4),
        ({"data": 1, "fsdp": 4, "tensor": 2}, 16384 / 8),
    ],
)
def test_weights_are_cut_as_the_mesh_says(mesh, kernel):
    # the image tokenizer, 64 bytes, is whole on each device
    assert bytes_per_device(PARAMS, abstract_mesh(MeshConfig(**mesh), 8)) == kernel + 64
    assert bytes_per_device(PARAMS, None) == 16384 + 64


def test_a_mesh_without_devices_is_checked_like_one_with():
    assert dict(abstract_mesh(MeshConfig(fsdp=64), 256).shape) == {
        "data": 4,
        "fsdp": 64,
        "tensor": 1,
    }
    with pytest.raises(ConfigError, match="mesh.fsdp=3, mesh.tensor=1: does not divide the 8"):
        abstract_mesh(MeshConfig(fsdp=3), 8)


@pytest.mark.parametrize(
    ("kind", "gb"),
    [
        ("TPU v5 lite", 16),
        ("TPU v5e", 16),
        ("TPU v6 lite", 32),
        ("TPU v5p", 95),
        ("TPU v5", 95),
        ("TPU v4", 32),
        ("NVIDIA H100 80GB HBM3", 80),
        ("NVIDIA A100-SXM4-40GB", 40),
        ("NVIDIA A100 80GB PCIe", 80),
    ],
)
def test_memory_by_kind_of_device(kind, gb):
    assert memory_of_device(device(kind)) == DeviceMemory(gb * 1e9, kind)


def test_what_is_given_and_what_the_device_says_count_more():
    assert memory_of_device(device("TPU v4", {"bytes_limit": 7e9})) == DeviceMemory(7e9, "TPU v4")
    assert memory_of_device(device("TPU v4", {"bytes_limit": 7e9}), 16).nbytes == 16e9
    assert memory_of_device(device("abacus")) == DeviceMemory(None, "abacus")
    assert memory_of_device(jax.devices()[0]).nbytes > 1e8
    with pytest.raises(ConfigError, match="--memory_gb=0: expected a positive number"):
        memory_of_device(device("TPU v4"), 0)


def test_the_table_is_aligned_and_says_what_to_try():
    entries = [MemoryItem("weights", 12.5e9, "int8"), MemoryItem("keys", 1e9)]
    levers = [MemorySaving("--one", 12e9), MemorySaving("--two", 9e9), MemorySaving("--three", 1e9)]
    lines = table("model:", entries, DeviceMemory(10e9, "it"), levers).splitlines()
    assert lines[:4] == [
        "model:",
        "  weights  12.50 GB  int8",
        "  keys      1.00 GB",
        "  -----------------",
    ]
    assert lines[4] == "  all      13.50 GB"
    assert lines[5] == (
        "does not fit: needs 13.50 GB of 10.00 GB of it; "
        "try: --one (12.00 GB), then --two (9.00 GB)"
    )
    assert table("", entries, DeviceMemory(14e9, "it"), []).endswith(
        "fits: needs 13.50 GB of 14.00 GB of it"
    )
    unknown = DeviceMemory(None, "abacus")
    assert fits(entries, unknown) and "not known: give --memory_gb" in table(
        "", entries, unknown, []
    )


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("cpu", None),
    ],
)
def test_peaks(kind, peak):
    assert peak_flops(kind) == peak
