"""Rows of a learnt table by their numbers, looked up by each device for its own part of a batch."""

import jax

from jaxedit.sharding.rules import activation_spec, param_spec


def look_up(table: jax.Array, ids: jax.Array) -> jax.Array:
    """`table[ids]`, [B,N,C]; on a mesh rows stay on their device, and only the table is sent.

    By itself the compiler cuts what is looked up as the table is cut, and then moves all of it.

    Args:
      table: [V,C], cut by rows.
      ids: i32[B,N].
    """
    if jax.sharding.get_abstract_mesh().empty:
        return table[ids]
    cut, rows = param_spec(table.shape, ("rows", None)), activation_spec(ids.shape, ("batch", None))

    def here(table: jax.Array, ids: jax.Array) -> jax.Array:
        whole = jax.lax.all_gather(table, cut[0], tiled=True) if cut[0] else table
        return whole[ids]

    return jax.shard_map(here, in_specs=(cut, rows), out_specs=rows, check_vma=False)(table, ids)
