"""The device mesh: its axes, its shape for a config, and the only place that makes meshes."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh

from jaxedit.config import MeshConfig, require

AXES = ("data", "fsdp", "tensor")
_TYPES = (AxisType.Auto,) * len(AXES)  # the compiler chooses shardings that are not constrained


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh with the axes `data`, `fsdp` and `tensor`.

    `data` holds copies of the weights, `fsdp` cuts every weight and the batch, and `tensor` cuts
    the width of every layer. Neighbours on an axis are neighbours in the TPU's torus where its
    shape allows this. TPU slices are laid along the axis `data`, so that only gradients cross the
    slow network between slices.

    Args:
      config: devices per axis; an axis of -1 takes the devices that the other axes leave.
      devices: devices to use, default all devices of all processes.

    Returns:
      Mesh with Auto axes.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices, or do not fit the slices.
    """
    slices = slices_of(jax.devices() if devices is None else devices)
    shape = mesh_shape(config, sum(map(len, slices)), len(slices))
    inner = (shape[0] // len(slices), *shape[1:])
    parts = [
        mesh_utils.create_device_mesh(inner, part, allow_split_physical_axes=True)
        for part in slices
    ]
    return Mesh(np.concatenate(parts), AXES, axis_types=_TYPES)


def device_kind() -> str:
    """Return the kind of the devices that the program being traced will run on.

    The devices of the mesh that is set count, or without a mesh the local devices; empty if the
    mesh does not name its devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.devices()[0].device_kind
    return mesh.abstract_device.device_kind if mesh.abstract_device else ""


def abstract_mesh(config: MeshConfig, devices: int, slices: int = 1) -> AbstractMesh:
    """Return a mesh without devices, for computing shardings only; see `make_mesh`.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices, or do not fit the slices.
    """
    return AbstractMesh(mesh_shape(config, devices, slices), AXES, axis_types=_TYPES)


def mesh_shape(config: MeshConfig, devices: int, slices: int = 1) -> tuple[int, ...]:
    """Return the number of devices along each of `AXES`.

    Args:
      config: devices per axis; one axis may be -1.
      devices: number of devices of all slices together.
      slices: number of TPU slices, which a slow network joins.

    Raises:
      ConfigError: the sizes do not multiply to the number of devices, or do not fit the slices.
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
    require(
        shape[0] % slices == 0,
        f"{described}: data={shape[0]} is no multiple of the {slices} slices of this run; fsdp and "
        f"tensor together can be {devices // slices} at most, the devices of a slice",
    )
    return shape


def slices_of(devices: Sequence[jax.Device]) -> list[list[jax.Device]]:
    """Return the devices of each TPU slice, in the order of slice numbers.

    Devices other than TPUs are a single slice.

    Raises:
      ConfigError: slices of different sizes.
    """
    found: dict[int, list[jax.Device]] = {}
    for device in devices:
        is_tpu = device.platform == "tpu"
        found.setdefault(getattr(device, "slice_index", 0) if is_tpu else 0, []).append(device)
    sizes = {index: len(found[index]) for index in sorted(found)}
    require(
        len(set(sizes.values())) == 1, f"slices of {sizes} devices: expected slices of equal size"
    )
    return [found[index] for index in sizes]
