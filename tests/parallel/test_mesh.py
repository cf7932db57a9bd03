import jax
import pytest

from jaxedit.config import ConfigError, MeshConfig
from jaxedit.parallel.mesh import make_mesh


def test_minus_one_takes_what_the_others_leave():
    assert make_mesh(MeshConfig()).shape == {"data": 8, "fsdp": 1, "tensor": 1}
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1, tensor=2))
    assert mesh.shape == {"data": 1, "fsdp": 4, "tensor": 2}
    assert make_mesh(MeshConfig(), jax.devices()[:3]).shape["data"] == 3


@pytest.mark.parametrize("axes", [(3, 1, 1), (-1, 3, 1), (16, 1, 1), (4, 1, 1)])
def test_sizes_that_do_not_fit(axes):
    with pytest.raises(ConfigError, match="does not divide the 8 devices"):
        make_mesh(MeshConfig(data=axes[0], fsdp=axes[1], tensor=axes[2]))


@pytest.mark.parametrize("axes", [(-1, -1, 1), (0, 1, 1), (-2, 1, 1)])
def test_sizes_that_mean_nothing(axes):
    with pytest.raises(ConfigError, match="at most one of them -1"):
        make_mesh(MeshConfig(data=axes[0], fsdp=axes[1], tensor=axes[2]))
