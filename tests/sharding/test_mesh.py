import dataclasses

import jax
import numpy as np
import pytest

from jaxedit.config import ConfigError, MeshConfig
from jaxedit.sharding.mesh import abstract_mesh, make_mesh, slices_of


@dataclasses.dataclass(frozen=True)
class Device:
    """The attributes of a device that a mesh reads."""

    id: int
    slice_index: int
    coords: tuple[int, int, int]
    device_kind: str
    platform: str = "tpu"
    core_on_chip: int = 0
    process_index: int = 0


def pod(slices, shape, kind="TPU v5"):
    """Return the devices of some slices, each a torus of this shape."""
    x, y, z = shape
    places = [(i, (c, b, a)) for i in range(slices) for a, b, c in np.ndindex(z, y, x)]
    return [Device(number, i, xyz, kind) for number, (i, xyz) in enumerate(places)]


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


def test_only_the_data_axis_crosses_slices():
    devices = pod(2, (4, 4, 1), "TPU v5 lite")
    shuffled = [devices[i] for i in np.random.default_rng(0).permutation(len(devices))]
    mesh = make_mesh(MeshConfig(data=-1, fsdp=4, tensor=2), shuffled)
    assert mesh.shape == {"data": 4, "fsdp": 4, "tensor": 2}
    slices = np.vectorize(lambda device: device.slice_index)(mesh.devices)
    np.testing.assert_array_equal(slices[:2], 0)
    np.testing.assert_array_equal(slices[2:], 1)
    assert {device.id for device in mesh.devices.flat} == set(range(32))


@pytest.mark.parametrize(("fsdp", "tensor"), [(32, 1), (8, 4)])
def test_fsdp_and_tensor_do_not_cross_slices(fsdp, tensor):
    message = "data=1 is no multiple of the 2 slices.* can be 16 at most"
    with pytest.raises(ConfigError, match=message):
        make_mesh(MeshConfig(fsdp=fsdp, tensor=tensor), pod(2, (4, 4, 1)))
    with pytest.raises(ConfigError, match=message):
        abstract_mesh(MeshConfig(fsdp=fsdp, tensor=tensor), 32, slices=2)


def test_slices_of_different_size():
    with pytest.raises(ConfigError, match="slices of {0: 16, 1: 15} devices"):
        slices_of(pod(2, (4, 4, 1))[:-1])


def test_nodes_of_gpus_are_no_slices():
    gpus = [dataclasses.replace(d, platform="gpu") for d in pod(2, (2, 2, 1), "NVIDIA H100")]
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1), gpus)
    assert [device.id for device in mesh.devices.flat] == list(range(8))


@pytest.mark.parametrize("sizes", [(1, 16, 4), (4, 4, 4), (1, 64, 1), (2, 32, 1), (1, 8, 8)])
def test_neighbours_on_the_tensor_axis_are_neighbours_in_the_torus(sizes):
    data, fsdp, tensor = sizes
    mesh = make_mesh(MeshConfig(data=data, fsdp=fsdp, tensor=tensor), pod(1, (4, 4, 4)))
    assert tuple(mesh.shape.values()) == sizes
    coords = [[device.coords for device in line] for line in mesh.devices.reshape(-1, tensor)]
    for line in np.array(coords):
        # a line of the torus, or with 8 devices two of them: their coordinates vary in two axes
        assert (np.ptp(line, axis=0) > 0).sum() == {1: 0, 4: 1, 8: 2}[tensor]
