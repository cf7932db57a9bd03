import jax
import numpy as np

from jaxedit.config import MeshConfig
from jaxedit.ops import int8
from jaxedit.sharding.columns import by_columns, rows_of
from jaxedit.sharding.mesh import make_mesh


def test_a_device_has_its_piece_of_every_map():
    mesh = make_mesh(MeshConfig(data=4, tensor=2))
    stack = np.arange(24.0, dtype=np.float32).reshape(2, 2, 6)  # two layers
    found = by_columns(jax.device_put(stack), (4, 2), mesh)
    pieces = {shard.index[-1].start: shard.data for shard in found.kernel.addressable_shards}
    np.testing.assert_array_equal(pieces[0], stack[..., [0, 1, 4]])
    np.testing.assert_array_equal(pieces[3], stack[..., [2, 3, 5]])

    small = by_columns(int8.quantize(stack), (4, 2), mesh).kernel
    assert small.values.sharding.shard_shape((2, 2, 6)) == (2, 2, 3)
    assert small.scale.sharding.shard_shape((2, 1, 6)) == (2, 1, 3)


def test_rows_are_cut_but_not_a_single_row():
    mesh = make_mesh(MeshConfig(data=4, tensor=2))
    assert rows_of(mesh, (6, 5)).shard_shape((6, 5)) == (3, 5)
    assert rows_of(mesh, (1, 5)).shard_shape((1, 5)) == (1, 5)
