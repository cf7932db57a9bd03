"""Kernels cut over the axis `tensor`, by columns or by rows, as products use them."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxedit.ops.interleaved import Interleaved, interleave
from jaxedit.sharding.rules import AnyMesh


def by_columns(kernel: Any, widths: tuple[int, ...], mesh: Mesh) -> Interleaved:
    """Cut a kernel over the axis `tensor`, each device with its piece of every map.

    `PARAM_AXES` cuts such kernels by rows, which in training saves memory in the same way. Then
    each product would first send the whole kernel between the devices.

    Args:
      kernel: an array [..., in, out] or an `Int8`, in any sharding.
      widths: columns of each map, multiples of the size of `tensor`.
      mesh: all axes but `tensor` hold copies.
    """
    columns = columns_of(mesh, jax.tree.leaves(kernel)[0].ndim)
    order = jax.jit(interleave, static_argnums=(1, 2), out_shardings=columns)
    return jax.block_until_ready(order(kernel, widths, mesh.shape["tensor"]))


def columns_of(mesh: AnyMesh, ndim: int) -> NamedSharding:
    """Return the sharding that cuts the last of `ndim` axes over `tensor`."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * (ndim - 1), "tensor"))


def rows_of(mesh: AnyMesh, shape: tuple[int, ...]) -> NamedSharding:
    """Return the sharding that cuts the rows of a matrix [in,out]; a single row is not cut."""
    rows, _ = shape
    return NamedSharding(mesh, PartitionSpec("tensor" if rows > 1 else None, None))
