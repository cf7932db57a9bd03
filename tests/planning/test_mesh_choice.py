import pytest

from jaxedit.config import ConfigError, MeshConfig
from jaxedit.planning.device_memory import DeviceMemory
from jaxedit.planning.mesh_choice import Machine, Workload, choose

OPEN = MeshConfig(data=-1, fsdp=-1, tensor=-1)
V5E, V5P, H200 = (
    DeviceMemory(16e9, "TPU v5 lite"),
    DeviceMemory(95e9, "TPU v5"),
    DeviceMemory(141e9, "H200"),
)
# weights, gradients and Adam's moments in f32
XL, B2, B8 = 12.5e9, 35.3e9, 134e9


@pytest.mark.parametrize(
    ("machine", "load", "expected"),
    [
        (Machine(1, 1, V5E), Workload(B8, 7, 28), (1, 1, 1)),
        (Machine(256, 1, V5E), Workload(B8, 1536, 28), (2, 128, 1)),
        (Machine(64, 1, V5P), Workload(B2, 960, 16), (16, 4, 1)),
        (Machine(256, 1, V5E), Workload(B2, 960, 16), (8, 8, 4)),  # 960 = 15 x 64
        (Machine(256, 1, V5E), Workload(XL, 64, 20), (32, 2, 4)),
        (Machine(8, 1, H200), Workload(XL, 64, 20), (8, 1, 1)),
        (Machine(512, 2, V5E), Workload(B8, 1536, 28), (4, 128, 1)),
        (Machine(512, 2, V5E), Workload(4 * B8, 1536, 28), (2, 256, 1)),
        (Machine(8, 1, DeviceMemory(None, "abacus")), Workload(1e6, 8, 4), (1, 8, 1)),
        (Machine(8, 1, V5E), Workload(1e6, 10, 4), (2, 1, 4)),
        (
            Machine(8, 1, V5E),
            Workload(1e6, 9, 4),
            (8, 1, 1),
        ),  # nothing helps: the batch is at fault
        (Machine(8, 1, V5E), Workload(1e6, 10, 1), (8, 1, 1)),  # a tokenizer: no heads to share
    ],
)
def test_choice_by_hand(machine, load, expected):
    mesh, _ = choose(OPEN, machine, load)
    assert (mesh.data, mesh.fsdp, mesh.tensor) == expected


def test_tensor_that_is_larger_than_a_slice_is_named():
    with pytest.raises(ConfigError, match="mesh.tensor=16: does not divide the 8 devices"):
        choose(MeshConfig(data=-1, fsdp=-1, tensor=16), Machine(8, 1, H200), Workload(XL, 64, 16))


def test_it_says_why():
    _, why = choose(OPEN, Machine(256, 1, V5E), Workload(B2, 960, 16))
    assert why == (
        "state and frozen networks of 35.3 GB over 32 devices fit into 1/8 of 16.0 GB "
        "(TPU v5 lite); micro-batches of 960 rows divide over 64 of 256 devices only, "
        "a multiple of 256 over all"
    )
    _, why = choose(OPEN, Machine(8, 1, H200), Workload(XL, 64, 20))
    assert why.startswith("state and frozen networks of 12.5 GB fit into 1/8 of 141")
    _, why = choose(OPEN, Machine(8, 1, V5E), Workload(B2, 960, 16))
    assert why.startswith("state and frozen networks of 35.3 GB over 8 devices are more than 1/8")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"data": 2, "fsdp": 2, "tensor": -1}, (2, 2, 2)),
        ({"data": -1, "fsdp": 4, "tensor": -1}, (2, 4, 1)),
        ({"data": 2, "fsdp": -1, "tensor": -1}, (2, 4, 1)),
        ({"data": -1, "fsdp": -1, "tensor": 4}, (1, 2, 4)),
    ],
)
def test_what_is_given_is_kept(given, expected):
    mesh, _ = choose(MeshConfig(**given), Machine(8, 1, V5E), Workload(B2, 8, 16))
    assert (mesh.data, mesh.fsdp, mesh.tensor) == expected


def test_given_axes_that_do_not_fit():
    with pytest.raises(ConfigError, match="mesh.fsdp=3.*does not divide the 8 devices"):
        choose(MeshConfig(data=-1, fsdp=3, tensor=-1), Machine(8, 1, V5E), Workload(B2, 8, 16))
    with pytest.raises(ConfigError, match="data=1 is no multiple of the 2 slices"):
        choose(MeshConfig(data=1, fsdp=-1, tensor=-1), Machine(8, 2, V5E), Workload(B2, 8, 16))
