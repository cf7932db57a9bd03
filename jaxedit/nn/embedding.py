"""Rows of a learnt table by their numbers, looked up by each device for its own part of a batch."""

import jax

from jaxedit.parallel.sharding import AxisNames, activation_spec, param_spec


def look_up(table: jax.Array, ids: jax.Array, axes: AxisNames = ("rows", None)) -> jax.Array:
    """`table[ids]`, [B,N,C]; on a mesh rows stay on their device, and only the table is sent.

    By itself the compiler cuts what is looked up as the table is cut, and then moves all of it.

    Args:
      table: [V,C].
      ids: i32[B,N].
      axes: names of the table's axes in `sharding.AXIS_RULES`.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return table[ids]
    cut, rows = param_spec(table.shape, axes), activation_spec(ids.shape, ("batch", "length"))

    def here(table: jax.Array, ids: jax.Array) -> jax.Array:
        for axis, names in enumerate(cut):
            if names:
                table = jax.lax.all_gather(table, names, axis=axis, tiled=True)
        return table[ids]

    return jax.shard_map(here, in_specs=(cut, rows), out_specs=rows, check_vma=False)(table, ids)
