import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import MeshConfig
from jaxedit.nn.embedding import look_up
from jaxedit.sharding.mesh import make_mesh

TABLE, IDS = np.arange(48.0, dtype=np.float32).reshape(16, 3), np.arange(32).reshape(8, 4) % 9


@pytest.mark.parametrize("rows", [8, 3])  # 3 do not divide: every device looks up all
@pytest.mark.parametrize("mesh", [{"fsdp": 8, "data": 1}, {"tensor": 2, "fsdp": 2, "data": 2}])
def test_rows_and_gradient_are_those_of_one_device(mesh, rows):
    ids = IDS[:rows]
    with jax.set_mesh(make_mesh(MeshConfig(**mesh))):
        np.testing.assert_array_equal(jax.jit(look_up)(TABLE, ids), TABLE[ids])
        gradient = jax.jit(jax.grad(lambda table: (look_up(table, ids) ** 2).sum()))(TABLE)
    expected = 2 * TABLE * np.bincount(ids.ravel(), minlength=16)[:, None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_a_table_that_does_not_divide_is_whole():
    with jax.set_mesh(make_mesh(MeshConfig(data=1, fsdp=8))):
        got = jax.jit(look_up)(jnp.asarray(TABLE[:13]), IDS)
    np.testing.assert_array_equal(got, TABLE[IDS])
