"""The device mesh: the only place where one is made."""

import math
from collections.abc import Sequence

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh

from jaxedit.config import MeshConfig, require

AXES = ("data", "fsdp", "tensor")


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes `data` (copies of the weights), `fsdp` (slices of every weight and of
    the batch) and `tensor` (slices of every layer's width).

    Args:
      config: devices per axis; one axis may be -1 and takes what the others leave.
      devices: devices to use, default all of all processes.

    Returns:
      Mesh with Auto axes: the compiler places what is not constrained.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = mesh_shape(config, len(devices))
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def abstract_mesh(config: MeshConfig, devices: int) -> AbstractMesh:
    """A mesh without devices, for shardings alone; see `make_mesh`.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices.
    """
    shape = mesh_shape(config, devices)
    return AbstractMesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def mesh_shape(config: MeshConfig, devices: int) -> tuple[int, ...]:
    """Devices per axis of `AXES`.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices.
    """
    sizes = {axis: getattr(config, axis) for axis in AXES}
    described = ", ".join(f"mesh.{axis}={size}" for axis, size in sizes.items())
    require(
        all(size > 0 or size == -1 for size in sizes.values())
        and list(sizes.values()).count(-1) <= 1,
        f"{described}: expected positive numbers, at most one of them -1",
    )
    known = math.prod(size for size in sizes.values() if size > 0)
    shape = tuple(devices // known if size == -1 else size for size in sizes.values())
    require(
        math.prod(shape) == devices,
        f"{described}: does not divide the {devices} devices of this run",
    )
    return shape


def init_distributed(
    coordinator: str | None = None,
    processes: int | None = None,
    index: int | None = None,
    *,
    timeout: int = 300,
) -> None:
    """Join the other processes of a multi-host run; call before anything else touches a device.

    Args:
      coordinator: host:port of process 0; None asks the cluster (TPU, SLURM, Open MPI), as do the
        next two.
      processes: number of processes.
      index: of this process, from 0.
      timeout: seconds to wait for the other processes.

    Raises:
      OSError: no cluster was found or not every process came.
    """
    try:
        jax.distributed.initialize(coordinator, processes, index, initialization_timeout=timeout)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OSError(
            f"cannot join a multi-process run: {reason} (was the command started on every host, "
            "for instance with --worker=all? a single host needs --distributed=off)"
        ) from error
