"""Does it fit? What a run will hold in the memory of a device, as a table, and its room."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, Mesh

from jaxedit.config import require
from jaxedit.sharding.rules import state_shardings

GB = 1e9
# device_kind -> GB of one device; the first pattern that is found in it counts
DEVICES = (
    (r"TPU7x|TPU v7", 96),
    (r"TPU v6", 32),
    (r"TPU v5 ?(lite|e)", 16),
    (r"TPU v5", 95),
    (r"TPU v4 lite", 8),
    (r"TPU v4", 32),
    (r"TPU v3", 16),
    (r"TPU v2", 8),
    (r"B200", 180),
    (r"H200", 141),
    (r"H100", 80),
    (r"A100.*80", 80),
    (r"A100", 40),
    (r"L40|A6000", 48),
    (r"A10|L4|4090|3090", 24),
    (r"V100.*32", 32),
    (r"V100|T4", 16),
)


class MemoryItem(NamedTuple):
    """One line of the table: what it is, bytes on one device, and a remark."""

    name: str
    nbytes: float
    remark: str = ""


class MemorySaving(NamedTuple):
    """A change that saves memory: what to write, and bytes in all once it and those before hold."""

    change: str
    nbytes: float


class DeviceMemory(NamedTuple):
    """Memory of one device: bytes, or None if they are not known, and whose they are."""

    nbytes: float | None
    of: str


def bytes_per_device(arrays: Any, mesh: Mesh | AbstractMesh | None) -> int:
    """Bytes of a pytree of parameters (or their moments) on each device.

    Args:
      arrays: arrays or ShapeDtypeStructs; the paths begin with the networks' names.
      mesh: over which they are cut as `PARAM_AXES` says; None: one device.
    """
    if mesh is None:
        return sum(map(_nbytes, jax.tree.leaves(arrays)))
    shardings = state_shardings(arrays, mesh)
    cut = jax.tree.map(lambda x, s: math.prod(s.shard_shape(x.shape)), arrays, shardings)
    sizes = jax.tree.map(lambda x, count: count * x.dtype.itemsize, arrays, cut)
    return sum(jax.tree.leaves(sizes))


def memory_of_device(device: jax.Device, memory_gb: float | None = None) -> DeviceMemory:
    """The memory of a device: as given, else as it says, else by its kind; of a CPU the host's.

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
    """Bytes of memory of a kind of device, None if it is not known."""
    return next((GB * size for pattern, size in DEVICES if re.search(pattern, kind)), None)


def total(entries: Iterable[MemoryItem]) -> float:
    """Bytes of all entries."""
    return sum(entry.nbytes for entry in entries)


def fits(entries: Iterable[MemoryItem], room: DeviceMemory) -> bool:
    """Whether the entries fit, as far as is known."""
    return room.nbytes is None or total(entries) <= room.nbytes


def table(
    title: str, entries: Sequence[MemoryItem], room: DeviceMemory, levers: Sequence[MemorySaving]
) -> str:
    """The table and the verdict, with the first levers that suffice if it does not fit.

    Args:
      title: first line.
      entries: what is in memory.
      room: the memory that there is.
      levers: in the order in which they are worth trying.
    """
    lines = [*entries, MemoryItem("all", total(entries))]
    width = max(len(entry.name) for entry in lines)
    numbers = [f"{entry.nbytes / GB:.2f}" for entry in lines]
    digits = max(map(len, numbers))
    rows = [
        f"  {entry.name:<{width}}  {number:>{digits}} GB  {entry.remark}".rstrip()
        for entry, number in zip(lines, numbers, strict=True)
    ]
    rows.insert(-1, "  " + "-" * (width + digits + 5))
    return "\n".join([title, *rows, verdict(entries, room, levers)])


def verdict(
    entries: Sequence[MemoryItem], room: DeviceMemory, levers: Sequence[MemorySaving]
) -> str:
    """Whether it fits and, if not, what to try."""
    need = f"{total(entries) / GB:.2f} GB"
    if room.nbytes is None:
        return f"needs {need}; the memory of {room.of} is not known: give --memory_gb"
    have = f"{room.nbytes / GB:.2f} GB of {room.of}"
    if fits(entries, room):
        return f"fits: needs {need} of {have}"
    tried = []
    for lever in levers:
        tried.append(f"{lever.change} ({lever.nbytes / GB:.2f} GB)")
        if lever.nbytes <= room.nbytes:
            break
    return f"does not fit: needs {need} of {have}; try: {', then '.join(tried)}"


def _nbytes(x: Any) -> int:
    return math.prod(x.shape) * x.dtype.itemsize
