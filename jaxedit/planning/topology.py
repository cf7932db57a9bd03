"""Machines that are not at hand: pods and servers by name, and devices to compile for."""

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxedit.config import ConfigError, require
from jaxedit.planning.device_memory import GB, DeviceMemory, memory_of_kind

NAMES = "v5e-256, v5p-128, v6e-64, v4-64, tpu7x-128, 2xv5e-256 (two slices), 8xH100, gpu-8 or cpu-8"
# libtpu asks which machine it runs on; any answer will do, because nothing is executed.
_PRETEND = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # several processes may compile at the same time
}


class _Generation(NamedTuple):
    """A generation of TPUs."""

    libtpu: str  # libtpu's name of the generation
    kind: str  # device kind
    dimensions: int  # of the torus
    counted: int  # units per chip in the name of a pod (2 where TensorCores are counted)
    devices: int  # per chip
    options: dict[str, Any] = {}  # for libtpu


_V5E = _Generation("v5e", "TPU v5 lite", 2, 1, 1)
_TPUS = {
    "v4": _Generation("v4", "TPU v4", 3, 2, 1, {"chip_config_name": "megacore"}),
    "v5e": _V5E,
    "v5litepod": _V5E,
    "v5p": _Generation("v5p", "TPU v5", 3, 2, 1),
    "v6e": _Generation("v6e", "TPU v6 lite", 2, 1, 1),
    "tpu7x": _Generation("tpu7x", "TPU7x", 3, 2, 2),
}


class Pod(NamedTuple):
    """A group of devices that need not be at hand."""

    name: str  # as given by the user
    kind: str  # device kind
    devices: int  # of all slices together
    slices: int = 1  # TPU slices
    topology: str = ""  # libtpu's name of a slice; empty for other devices than TPUs
    options: dict[str, Any] = {}  # for libtpu


def pod(name: str) -> Pod:
    """Return the machine with this name.

    TPU names follow Google Cloud: v4, v5p and tpu7x count TensorCores, two per chip; other TPUs
    count chips. A pod is the most compact torus of its size.

    Args:
      name: e.g. v5p-128, 2xv5e-256 (two slices), 8xH100 (a kind of `device_memory.DEVICES`), gpu-8.

    Raises:
      ConfigError: no such machine.
    """
    if named := re.fullmatch(r"(?:(\d+)x)?(\w+)-(\d+)", name):
        slices, kind, count = named.groups()
        if kind in _TPUS:
            return _tpu_pod(name, _TPUS[kind], int(count), int(slices or 1))
        if kind in ("cpu", "gpu") and not slices and int(count):
            return Pod(name, kind.upper(), int(count))
    if named := re.fullmatch(r"([1-9]\d*)x(\S+)", name):
        count, kind = named.groups()
        if memory_of_kind(kind) and "TPU" not in kind:
            return Pod(name, kind, int(count))
    raise ConfigError(f"--devices={name}: expected a name such as {NAMES}")


def memory_of_pod(pod: Pod, memory_gb: float | None = None) -> DeviceMemory:
    """Return the memory of a device of the pod: `memory_gb` if given, else known from its kind.

    Raises:
      ConfigError: `memory_gb` is not positive.
    """
    if memory_gb is None:
        return DeviceMemory(memory_of_kind(pod.kind), pod.kind)
    require(memory_gb > 0, f"--memory_gb={memory_gb}: expected a positive number")
    return DeviceMemory(memory_gb * GB, "--memory_gb")


def compiles_for_tpus() -> bool:
    """Tell whether the package libtpu is installed."""
    return importlib.util.find_spec("libtpu") is not None


def devices_of(pod: Pod) -> Sequence[jax.Device]:
    """Return devices to compile for, on which nothing can run; call before any device is used.

    With libtpu, a TPU pod gives its own devices; otherwise there are as many simulated CPU devices.
    This process's own accelerators are not used.

    Raises:
      ConfigError: the process has already begun to use another platform, or fewer devices.
    """
    jax.config.update("jax_platforms", "cpu")
    if pod.topology and compiles_for_tpus():
        return _tpu_devices(pod)
    try:
        jax.config.update("jax_num_cpu_devices", pod.devices)
    except RuntimeError:  # devices are in use already, and their number is fixed
        pass
    found = jax.devices("cpu")
    require(
        len(found) >= pod.devices,
        f"--devices={pod.name}: {pod.devices} devices, but this process has {len(found)}",
    )
    return found[: pod.devices]


def _tpu_devices(pod: Pod) -> Sequence[jax.Device]:
    from jax.experimental import topologies

    for variable, value in _PRETEND.items():
        os.environ.setdefault(variable, value)
    options = pod.options | ({"num_slices": pod.slices} if pod.slices > 1 else {})
    try:
        return topologies.get_topology_desc(pod.topology, "tpu", **options).devices
    except jax.errors.JaxRuntimeError as error:
        raise ConfigError(f"--devices={pod.name}: libtpu knows no {pod.topology}") from error


def _tpu_pod(name: str, tpu: _Generation, count: int, slices: int) -> Pod:
    """Return a pod of `slices` slices with `count` units each, as the pod's name counts them."""
    chips, rest = divmod(count, tpu.counted)
    sizes = [2**n for n in range(13) if n != 1 and (tpu.dimensions == 2 or n > 1)]
    require(
        slices > 0 and not rest and chips in sizes,
        f"--devices={name}: expected a slice of "
        f"{', '.join(str(size * tpu.counted) for size in sizes[:5])}, ...",
    )
    exponent = math.frexp(chips)[1] - 1
    sides = [2 ** ((exponent + n) // tpu.dimensions) for n in range(tpu.dimensions)]
    if sides == [1, 2, 2]:
        sides = [2, 2, 1]
    options = tpu.options | ({"chips_per_host_bounds": (1, 1, 1)} if chips == 1 else {})
    topology = f"{tpu.libtpu}:{'x'.join(map(str, sides))}"
    return Pod(name, tpu.kind, slices * chips * tpu.devices, slices, topology, options)
