"""The choice of the mesh's shape where the config leaves it open, with its reason."""

import dataclasses
from typing import NamedTuple

from jaxedit.config import MeshConfig
from jaxedit.planning.device_memory import GB, DeviceMemory
from jaxedit.sharding.mesh import AXES, mesh_shape

# Share of a device's memory for train state and frozen networks; the rest is for activations. A
# copy of the weights on few devices needs less communication: gradients are reduced once, while
# weights that are cut must be gathered twice in a step.
STATE_SHARE = 1 / 8


class Machine(NamedTuple):
    """The devices of a run."""

    devices: int  # of all slices
    slices: int  # TPU slices
    memory: DeviceMemory  # of each device


class Workload(NamedTuple):
    """The demands of a run on the mesh."""

    nbytes: float  # of parameters, gradients, moments, average and frozen networks
    rows: int  # of a micro-batch, over all devices
    heads: int  # of the attention; `tensor` has to divide them


def choose(config: MeshConfig, machine: Machine, workload: Workload) -> tuple[MeshConfig, str]:
    """Choose sizes for the axes that are -1, and return them with a sentence that says why.

    - `tensor` is as small as the batch allows: `data` x `fsdp` devices take different rows.
    - `fsdp` is as small as the memory allows (`STATE_SHARE`), at most the rest of the slice.
    - `data` takes the devices that are left.

    Raises:
      ConfigError: the given axes do not fit the devices.
    """
    if [getattr(config, axis) for axis in AXES].count(-1) < 2:
        data, fsdp, tensor = mesh_shape(config, machine.devices, machine.slices)
        return MeshConfig(data=data, fsdp=fsdp, tensor=tensor), "as given"
    tensor, why_tensor = _choose_tensor(config, machine, workload)
    if config.data > 0 or config.fsdp > 0:
        given = dataclasses.replace(config, tensor=tensor)
        data, fsdp, tensor = mesh_shape(given, machine.devices, machine.slices)
        return MeshConfig(data=data, fsdp=fsdp, tensor=tensor), why_tensor
    fsdp, why_fsdp = _choose_fsdp(machine, workload, tensor)
    given = MeshConfig(data=-1, fsdp=fsdp, tensor=tensor)
    data, *_ = mesh_shape(given, machine.devices, machine.slices)
    return dataclasses.replace(given, data=data), f"{why_fsdp}; {why_tensor}"


def _choose_tensor(config: MeshConfig, machine: Machine, workload: Workload) -> tuple[int, str]:
    devices, slices, _ = machine
    if config.tensor > 0:
        return config.tensor, f"tensor={config.tensor} is given"
    taken = max(config.data, 1) * max(config.fsdp, 1)
    fitting = [
        tensor
        for tensor in range(1, devices // slices + 1)
        if workload.heads % tensor == 0
        and devices // slices % tensor == 0
        and devices % (taken * tensor) == 0
        and workload.rows % (devices // tensor) == 0
    ]
    tensor = min(fitting, default=1)
    rows = f"micro-batches of {workload.rows} rows"
    if not fitting:
        return 1, f"{rows} do not divide over the devices"
    if tensor == 1:
        return 1, f"{rows} divide over all devices"
    over = f"{devices // tensor} of {devices} devices only"
    return tensor, f"{rows} divide over {over}, a multiple of {devices} over all"


def _choose_fsdp(machine: Machine, workload: Workload, tensor: int) -> tuple[int, str]:
    devices, slices, memory = machine
    most = max(devices // slices // tensor, 1)
    state = f"state and frozen networks of {workload.nbytes / GB:.1f} GB"
    if memory.nbytes is None:
        return most, f"{state} and no known memory of {memory.of}"
    limit = STATE_SHARE * memory.nbytes
    there = f"1/{1 / STATE_SHARE:.0f} of {memory.nbytes / GB:.1f} GB ({memory.of})"
    for fsdp in range(1, most + 1):
        if most % fsdp == 0 and workload.nbytes / (fsdp * tensor) <= limit:
            over = f" over {fsdp * tensor} devices" if fsdp * tensor > 1 else ""
            return fsdp, f"{state}{over} fit into {there}"
    return most, f"{state} over {most * tensor} devices are more than {there}"
