"""The mesh on which pictures are made: devices that share the weights, and copies of these devices.

A picture is made by as few devices as hold the weights: `tensor` of them share every layer, by its
heads and hidden units. `data` groups of devices make pictures of a list at the same time. `fsdp` is
not used: it gathers all weights in every pass, 161 GB for an edit by the 8B model on eight devices.
"""

import dataclasses
import logging
import math
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxedit.config import ConfigError, MeshConfig, PretrainedConfig, require
from jaxedit.config.families import sizes_of
from jaxedit.editor.edit_memory import Plan, memory_items
from jaxedit.planning.device_memory import GB, DeviceMemory, fits, memory_of_device, total
from jaxedit.sharding.mesh import make_mesh

SHARE = 0.9  # of a device's memory that may be planned for, because activations are an estimate
WHOLE = "each device holds all weights"

log = logging.getLogger(__name__)


class Devices(NamedTuple):
    """The devices that may be used, which are equal."""

    count: int
    memory: DeviceMemory  # of each


class Choice(NamedTuple):
    """The shape of a mesh, and the reason for it."""

    data: int
    tensor: int
    why: str

    def __str__(self) -> str:
        """Describe the choice in one line."""
        return f"data={self.data} x tensor={self.tensor}: {self.why}"


def mesh_of(
    text: str, config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan
) -> Mesh | None:
    """Return a mesh of devices of this process, or None if one device suffices.

    Args:
      text: "one": a group of devices that hold the weights; "all": as many groups as there are; or
        sizes, such as data=2,tensor=4.
      config: the model.
      settings: what `settings_of` returns.
      plan: how the model will be run, on one device.

    Raises:
      ConfigError: see `choose`.
    """
    found = choose(text, config, settings, plan, _here())
    used = found.data * found.tensor
    if used == 1:
        return None
    log.info("mesh %s", found)
    return make_mesh(MeshConfig(data=found.data, tensor=found.tensor), jax.local_devices()[:used])


def choose(
    text: str, config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan, devices: Devices
) -> Choice:
    """Choose the number of devices that share the weights, and of such groups; see `mesh_of`.

    - Weights that fit on one device are not cut.
    - Else "one" picture is made by as many devices as can share the weights and divide all devices.
    - "all" takes the smallest such number on which the weights fit.
    - If they fit on no number, it is the largest.

    Raises:
      ConfigError: the text cannot be read, or its sizes do not fit the model or the devices.
    """
    if text not in ("one", "all"):
        return _given(text, config, devices.count)
    sizes = [size for size in tensor_sizes(config) if devices.count % size == 0]
    tensor, why = 1, WHOLE
    if devices.memory.nbytes is not None and len(sizes) > 1:
        tensor, why = _fitting(sizes, config, settings, plan, devices.memory)
        if text == "one" and tensor > 1:
            tensor = sizes[-1]
    return Choice(devices.count // tensor if text == "all" else 1, tensor, why)


def tensor_sizes(config: PretrainedConfig) -> list[int]:
    """List the numbers of devices that can share a model: they divide heads and hidden units."""
    sizes = sizes_of(config)
    groups = getattr(sizes, "groups", sizes.heads)  # heads of keys and values
    common = math.gcd(sizes.heads, groups, sizes.mlp_hidden)
    return [size for size in range(1, common + 1) if common % size == 0]


def require_tensor(config: PretrainedConfig, tensor: int) -> None:
    """Raise ConfigError unless this number of devices can share a model.

    With another number the compiler would gather all queries, keys and values on each device.
    """
    *most, last = tensor_sizes(config)
    expected = f"{', '.join(map(str, most))} or {last}" if most else str(last)
    sizes = sizes_of(config)
    require(
        tensor in (*most, last),
        f"mesh: tensor={tensor} does not divide the {sizes.heads} heads and {sizes.mlp_hidden} "
        f"hidden units of the model: expected {expected}",
    )


def _fitting(
    sizes: list[int],
    config: PretrainedConfig,
    settings: tuple[Any, ...],
    plan: Plan,
    memory: DeviceMemory,
) -> tuple[int, str]:
    """Return the smallest of the sizes with which everything fits, and why it is that."""
    why, limit = WHOLE, memory._replace(nbytes=SHARE * memory.nbytes)
    for tensor in sizes:
        items = memory_items(config, settings, dataclasses.replace(plan, tensor=tensor))
        if fits(items, limit):
            break
        need = f"{total(items) / GB:.1f} GB"
        have = f"{SHARE:.0%} of {memory.nbytes / GB:.1f} GB of {memory.of}"
        why = f"with tensor={tensor} a device would need {need}, more than {have}"
    return tensor, why


def _given(text: str, config: PretrainedConfig, count: int) -> Choice:
    """Return the sizes that a text names.

    Raises:
      ConfigError: see `choose`.
    """
    sizes = {"data": 1, "tensor": 1}
    parts = [part.partition("=")[::2] for part in text.split(",")]
    for axis, size in parts:
        if axis not in sizes or not size.isdecimal() or not int(size):
            raise ConfigError(f"mesh: {text!r}: expected sizes such as data=1,tensor=4")
        sizes[axis] = int(size)
    require(len(parts) == len(dict(parts)), f"mesh: {text!r}: expected each size once")
    require_tensor(config, sizes["tensor"])
    used = sizes["data"] * sizes["tensor"]
    require(used <= count, f"mesh: {text}: {used} devices, but there are {count}")
    return Choice(**sizes, why="as given")


def _here() -> Devices:
    """Return the devices of this process; simulated devices share the host's memory."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return Devices(len(devices), DeviceMemory(None, devices[0].device_kind))
    return Devices(len(devices), memory_of_device(devices[0]))
