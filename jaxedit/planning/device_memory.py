"""Memory and speed of devices, the memory that a run needs, and a table that compares memory."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax

from jaxedit.config import require
from jaxedit.sharding.rules import AnyMesh, state_shardings

GB = 1e9
# Pattern of device_kind -> GB of a device, and 1e12 operations per second of its dense bfloat16
# products by the makers' data sheets; for a device as jax counts them, which on TPU v2, v3 and v7
# is half a chip. The first pattern that matches counts.
DEVICES = (
    (r"TPU7x|TPU v7", 96, 1153.5),
    (r"TPU v6", 32, 918),
    (r"TPU v5 ?(lite|e)", 16, 197),
    (r"TPU v5", 95, 459),
    (r"TPU v4 lite", 8, 138),
    (r"TPU v4", 32, 275),
    (r"TPU v3", 16, 61.5),
    (r"TPU v2", 8, 22.5),
    (r"B200", 180, 2250),
    (r"H200", 141, 989),
    (r"H100 PCIe", 80, 756),
    (r"H100 NVL", 80, 835),
    (r"H100", 80, 989),
    (r"A100.*80", 80, 312),
    (r"A100", 40, 312),
    (r"A800", None, 312),
    (r"L40S", 48, 362),
    (r"L40", 48, 181),
    (r"A6000", 48, 155),
    (r"A10", 24, 125),
    (r"L4", 24, 121),
    (r"4090", 24, 165),
    (r"3090", 24, 71),
    (r"V100.*32", 32, None),
    (r"V100|T4", 16, None),
)


class MemoryItem(NamedTuple):
    """A line of the table: a name, its bytes on one device, and a remark."""

    name: str
    nbytes: float
    remark: str = ""


class MemorySaving(NamedTuple):
    """A change of settings that saves memory."""

    change: str  # the setting to write
    nbytes: float  # needed in total after this change and all changes before it in the list


class DeviceMemory(NamedTuple):
    """The memory of a device."""

    nbytes: float | None  # None: not known
    of: str  # the device or the option that the number comes from


def bytes_per_device(arrays: Any, mesh: AnyMesh | None) -> int:
    """Return the bytes on each device of a pytree of parameters, or of their moments.

    Args:
      arrays: arrays or ShapeDtypeStructs; the paths begin with the networks' names.
      mesh: the mesh over which `PARAM_AXES` shards them; None: a single device.
    """
    if mesh is None:
        return sum(map(_nbytes, jax.tree.leaves(arrays)))
    shardings = state_shardings(arrays, mesh)
    cut = jax.tree.map(lambda x, s: math.prod(s.shard_shape(x.shape)), arrays, shardings)
    sizes = jax.tree.map(lambda x, count: count * x.dtype.itemsize, arrays, cut)
    return sum(jax.tree.leaves(sizes))


def memory_of_device(device: jax.Device, memory_gb: float | None = None) -> DeviceMemory:
    """Return the memory of a device.

    The number is `memory_gb` if given, else as reported by the device, else known from its kind;
    for a CPU the host's memory divided by the number of simulated devices.

    Raises:
      ConfigError: `memory_gb` is not positive.
    """
    if memory_gb is not None:
        require(memory_gb > 0, f"--memory_gb={memory_gb}: expected a positive number")
        return DeviceMemory(memory_gb * GB, "--memory_gb")
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return DeviceMemory(stats["bytes_limit"], device.device_kind)
    if nbytes := memory_of_kind(device.device_kind):
        return DeviceMemory(nbytes, device.device_kind)
    if device.platform == "cpu" and hasattr(os, "sysconf"):
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return DeviceMemory(host / jax.local_device_count("cpu"), "the host's memory")
    return DeviceMemory(None, device.device_kind)


def memory_of_kind(kind: str) -> float | None:
    """Return the bytes of memory of a kind of device, or None if not known."""
    return next((size and GB * size for name, size, _ in DEVICES if re.search(name, kind)), None)


def peak_flops(kind: str) -> float | None:
    """Return the operations per second of a kind of device, or None if not known."""
    return next((peak and 1e12 * peak for name, _, peak in DEVICES if re.search(name, kind)), None)


def total(items: Iterable[MemoryItem]) -> float:
    """Return the bytes of all items together."""
    return sum(item.nbytes for item in items)


def fits(items: Iterable[MemoryItem], memory: DeviceMemory) -> bool:
    """Tell whether the items fit; True if the device's memory is not known."""
    return memory.nbytes is None or total(items) <= memory.nbytes


def table(
    title: str,
    items: Sequence[MemoryItem],
    memory: DeviceMemory,
    savings: Sequence[MemorySaving],
) -> str:
    """Format the table with its verdict; savings are worth trying in their order."""
    lines = [*items, MemoryItem("all", total(items))]
    width = max(len(item.name) for item in lines)
    numbers = [f"{item.nbytes / GB:.2f}" for item in lines]
    digits = max(map(len, numbers))
    rows = [
        f"  {item.name:<{width}}  {number:>{digits}} GB  {item.remark}".rstrip()
        for item, number in zip(lines, numbers, strict=True)
    ]
    rows.insert(-1, "  " + "-" * (width + digits + 5))
    return "\n".join([title, *rows, verdict(items, memory, savings)])


def verdict(
    items: Sequence[MemoryItem], memory: DeviceMemory, savings: Sequence[MemorySaving]
) -> str:
    """Say whether the items fit and, if not, the first savings that together suffice."""
    need = f"{total(items) / GB:.2f} GB"
    if memory.nbytes is None:
        return f"needs {need}; the memory of {memory.of} is not known: give --memory_gb"
    have = f"{memory.nbytes / GB:.2f} GB of {memory.of}"
    if fits(items, memory):
        return f"fits: needs {need} of {have}"
    tried = []
    for saving in savings:
        tried.append(f"{saving.change} ({saving.nbytes / GB:.2f} GB)")
        if saving.nbytes <= memory.nbytes:
            break
    return f"does not fit: needs {need} of {have}; try: {', then '.join(tried)}"


def _nbytes(x: Any) -> int:
    return math.prod(x.shape) * x.dtype.itemsize
