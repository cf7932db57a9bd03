import json
import random
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxedit import tree
from jaxedit.checkpoints import safetensors_file
from jaxedit.checkpoints.pretrained import load_pretrained, open_params
from jaxedit.config import MeshConfig
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh

TWO_PROCESSES = """
import sys, jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
from jaxedit import tree
from jaxedit.config import MeshConfig
from jaxedit.checkpoints import safetensors_file
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
read, scalars = safetensors_file._read_slice, []
def counted(*arguments):
    part = read(*arguments)
    scalars.append(part.size)
    return part
safetensors_file._read_slice = counted
_, params, _ = open_params(sys.argv[1])
placed = rules.place(params, make_mesh(MeshConfig(data=1, fsdp=8, tensor=1)))
held = sum(s.data.size for x in jax.tree.leaves(placed) for s in x.addressable_shards)
whole = sum(x.size for x in jax.tree.leaves(placed) if x.sharding.is_fully_replicated)
print(sum(scalars), held - 3 * whole, tree.count(placed))
"""


@pytest.fixture
def bytes_read(monkeypatch):
    """Sizes of all reads of stored arrays."""
    sizes, read = [], safetensors_file._read_slice

    def counted(*arguments):
        part = read(*arguments)
        sizes.append(part.nbytes)
        return part

    monkeypatch.setattr(safetensors_file, "_read_slice", counted)
    return sizes


@pytest.fixture
def store(tmp_path):
    """`store(array)` -> a lazy tensor in a file, checked as parameters of a model are."""

    def write(array):
        save_file({"x": np.asarray(array)}, tmp_path / "a")
        found = safetensors_file.read_stored(tmp_path / "a")["x"]
        return safetensors_file.check_finite(found, "some/kernel")

    return write


def test_values_that_are_not_finite_are_found_where_they_are_used(store):
    array = np.ones((3, 2), np.float32)
    array[1, 1] = np.nan
    x = store(array)
    assert x[0].tolist() == [1, 1] and x[:, 0].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="not finite in some/kernel"):
        x[1]
    with pytest.raises(ValueError, match="not finite in some/kernel"):
        np.asarray(x)


@pytest.mark.parametrize("shape", [(1, 8, 1), (1, 2, 4), (2, 2, 2), None])
def test_placed_as_the_table_says(tiny_model, shape):
    mesh = shape and make_mesh(MeshConfig(data=shape[0], fsdp=shape[1], tensor=shape[2]))
    _, params, _ = open_params(tiny_model)
    _, plain, _ = load_pretrained(tiny_model)
    placed = tree.flatten(rules.place(tree.cast(params, "bfloat16"), mesh))
    layout = mesh and tree.flatten(rules.state_shardings(plain, mesh))
    for path, array in tree.flatten(plain).items():
        found = placed[path]
        assert found.dtype == jnp.bfloat16 and (mesh is None or found.sharding == layout[path])
        np.testing.assert_array_equal(found, array.astype(jnp.bfloat16))
    cut = [x for x in placed.values() if not x.sharding.is_fully_replicated]
    assert len(cut) > 20 if mesh else not cut


@pytest.mark.parametrize(
    ("mesh", "devices"), [((1, 8, 1), 1), ((1, 8, 1), 2), ((1, 2, 4), 2), ((2, 2, 2), 2)]
)
def test_a_process_reads_only_its_slices(store, bytes_read, mesh, devices):
    mesh = make_mesh(MeshConfig(data=mesh[0], fsdp=mesh[1], tensor=mesh[2]))
    array = np.arange(3 * 64 * 4096, dtype=np.float32).reshape(3, 64, 4096)
    x = store(array)
    for path in ("transformer/blocks/attn/qkv/kernel", "transformer/blocks/attn/proj/kernel"):
        layout = rules.state_shardings(tree.unflatten({path: x}), mesh)
        layout = tree.flatten(layout)[path]
        places = layout.devices_indices_map(x.shape)
        ours = [places[device] for device in mesh.devices.flat[:devices]]
        bytes_read.clear()
        part = rules.read_slices(x, ours)
        for place in ours:
            np.testing.assert_array_equal(part(place), array[place])
        distinct = {str(place): array[place].nbytes for place in ours}
        assert sum(bytes_read) == sum(distinct.values()) < array.nbytes


def test_shared_slices_are_read_once(store, bytes_read):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    array = np.arange(4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8)
    placed = rules.place({"attn": {"q": {"kernel": store(array)}}}, mesh)
    np.testing.assert_array_equal(placed["attn"]["q"]["kernel"], array)
    assert sum(bytes_read) == array.nbytes


@pytest.mark.slow
def test_two_processes_read_a_half_each(tiny_model):
    address = f"localhost:{random.randrange(20000, 32000)}"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, str(tiny_model), address, str(i)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for run in runs:
        read, held, count = map(int, run.communicate(timeout=500)[0].split())
        assert read == held < count, json.dumps([read, held, count])
