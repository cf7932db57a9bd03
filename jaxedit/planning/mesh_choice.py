"""How many devices each axis of the mesh gets where the config leaves it open, and why."""

import dataclasses
from typing import NamedTuple

from jaxedit.config import MeshConfig
from jaxedit.planning.device_memory import GB, DeviceMemory
from jaxedit.sharding.mesh import AXES, mesh_shape

# Of a device's memory, for what is trained and what is not; the rest is for activations. The fewer
# devices share a copy, the less they send: gradients are added up once, weights gathered twice.
STATE_SHARE = 1 / 8


class Machine(NamedTuple):
    """The devices of a run: how many, in how many slices, and the memory of each."""

    devices: int
    slices: int
    room: DeviceMemory


class Workload(NamedTuple):
    """What a run asks of the mesh.

    nbytes: of parameters, gradients, moments, average and frozen networks; rows: of a micro-batch,
    over all devices; heads: which `tensor` has to divide.
    """

    nbytes: float
    rows: int
    heads: int


def choose(config: MeshConfig, machine: Machine, load: Workload) -> tuple[MeshConfig, str]:
    """Numbers for the axes that are -1, and a sentence that says why; other axes are kept.

    - `tensor` is as small as the batch allows: `data` x `fsdp` devices take different rows.
    - `fsdp` is as small as the memory allows (`STATE_SHARE`), at most the rest of the slice.
    - `data` is what is left.

    Args:
      config: devices per axis; any of them may be -1.
      machine: the devices.
      load: the run.

    Raises:
      ConfigError: the given axes do not fit the devices.
    """
    if [getattr(config, axis) for axis in AXES].count(-1) < 2:
        data, fsdp, tensor = mesh_shape(config, machine.devices, machine.slices)
        return MeshConfig(data=data, fsdp=fsdp, tensor=tensor), "as given"
    tensor, why_tensor = _choose_tensor(config, machine, load)
    if config.data > 0 or config.fsdp > 0:
        given = dataclasses.replace(config, tensor=tensor)
        data, fsdp, tensor = mesh_shape(given, machine.devices, machine.slices)
        return MeshConfig(data=data, fsdp=fsdp, tensor=tensor), why_tensor
    fsdp, why_fsdp = _choose_fsdp(machine, load, tensor)
    given = MeshConfig(data=-1, fsdp=fsdp, tensor=tensor)
    data, *_ = mesh_shape(given, machine.devices, machine.slices)
    return dataclasses.replace(given, data=data), f"{why_fsdp}; {why_tensor}"


def _choose_tensor(config: MeshConfig, machine: Machine, load: Workload) -> tuple[int, str]:
    devices, slices, _ = machine
    if config.tensor > 0:
        return config.tensor, f"tensor={config.tensor} is given"
    taken = max(config.data, 1) * max(config.fsdp, 1)
    fitting = [
        tensor
        for tensor in range(1, devices // slices + 1)
        if load.heads % tensor == 0
        and devices // slices % tensor == 0
        and devices % (taken * tensor) == 0
        and load.rows % (devices // tensor) == 0
    ]
    tensor = min(fitting, default=1)
    rows = f"micro-batches of {load.rows} rows"
    if not fitting:
        return 1, f"{rows} do not divide over the devices"
    if tensor == 1:
        return 1, f"{rows} divide over all devices"
    over = f"{devices // tensor} of {devices} devices only"
    return tensor, f"{rows} divide over {over}, a multiple of {devices} over all"


def _choose_fsdp(machine: Machine, load: Workload, tensor: int) -> tuple[int, str]:
    devices, slices, room = machine
    most = max(devices // slices // tensor, 1)
    state = f"state and frozen networks of {load.nbytes / GB:.1f} GB"
    if room.nbytes is None:
        return most, f"{state} and no known memory of {room.of}"
    limit = STATE_SHARE * room.nbytes
    there = f"1/{1 / STATE_SHARE:.0f} of {room.nbytes / GB:.1f} GB ({room.of})"
    for fsdp in range(1, most + 1):
        if most % fsdp == 0 and load.nbytes / (fsdp * tensor) <= limit:
            over = f" over {fsdp * tensor} devices" if fsdp * tensor > 1 else ""
            return fsdp, f"{state}{over} fit into {there}"
    return most, f"{state} over {most * tensor} devices are more than {there}"
