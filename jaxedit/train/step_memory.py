"""The memory that a training step needs on each device, computed from the settings alone.

The train state is exact: shapes and shardings as `initial_state` makes them. Activations are an
estimate, see `Objective.activations`, for a device's rows of a micro-batch.
"""

import copy
import functools
import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from jaxedit import rng, tree
from jaxedit.config import TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.planning.device_memory import (
    DeviceMemory,
    MemoryItem,
    MemorySaving,
    bytes_per_device,
    total,
)
from jaxedit.sharding.mesh import abstract_mesh
from jaxedit.sharding.rules import AnyMesh
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.objectives.registry import abstract_objective
from jaxedit.train.optim import make_optimizer
from jaxedit.train.step import init_state
from jaxedit.train.training_mesh import check_batch

Shape = jax.ShapeDtypeStruct


def memory_items(config: TrainConfig, devices: int) -> list[MemoryItem]:
    """List everything in the memory of a device during a step, on a mesh of so many devices.

    Raises:
      ConfigError: the mesh does not fit the devices, or the batch does not fit the mesh.
    """
    mesh = abstract_mesh(config.mesh, devices)
    check_batch(config, mesh)
    objective = abstract_objective(config)
    state = state_items(config, objective, mesh)
    parts, rows = config.optim.accumulate, _rows(config, mesh)
    gradients = state[0].nbytes * min(parts, 2)
    return [
        *state,
        MemoryItem("gradients", gradients, "and their sum" if parts > 1 else ""),
        MemoryItem("activations", _activations(config, objective, rows), f"estimate; {rows} rows"),
    ]


def state_items(config: TrainConfig, objective: Objective, mesh: AnyMesh) -> list[MemoryItem]:
    """List what stays in the memory of a device from step to step, parameters first."""
    optimizer = make_optimizer(config.optim, config.steps)
    state = jax.eval_shape(functools.partial(init_state, objective, optimizer, config))
    frozen = objective.frozen()
    found = [
        ("parameters", state.params, f"{tree.count(state.params):,} in float32"),
        ("Adam's moments", state.opt_state, ""),
        ("moving average", state.ema_params, ""),
        ("frozen networks", frozen, ", ".join(frozen)),
    ]
    items = [MemoryItem(name, bytes_per_device(x, mesh), remark) for name, x, remark in found]
    return [item for item in items if item.nbytes]


def memory_savings(
    config: TrainConfig, devices: int, memory: DeviceMemory, *, slices: int = 1
) -> list[MemorySaving]:
    """List settings that save memory, cheapest first, with the bytes needed after each change.

    Micro-batches become as small as they must to fit into the memory, at least a row. Each TPU
    slice keeps a copy of the weights.
    """
    config = copy.deepcopy(config)
    sizes = dict(abstract_mesh(config.mesh, devices).shape)
    copies, found = sizes["data"], []

    def add(change: str) -> None:
        found.append(MemorySaving(change, total(memory_items(config, devices))))

    if config.remat != "all":
        config.remat = "all"
        add("--config.remat=all")
    if copies > slices:
        config.mesh.data, config.mesh.fsdp = slices, sizes["fsdp"] * copies // slices
        add(f"--config.mesh.data={slices} --config.mesh.fsdp={config.mesh.fsdp}")
    rows = _rows(config, abstract_mesh(config.mesh, devices))
    if (parts := _fewest_parts(config, devices, rows, memory)) > 1:
        config.optim.accumulate *= parts
        add(f"--config.optim.accumulate={config.optim.accumulate}")
    if config.ema_decay:
        config.ema_decay = 0.0
        add("--config.ema_decay=0")
    least = found[-1].nbytes if found else total(memory_items(config, devices))
    return [*found, MemorySaving("more devices (mesh.fsdp), or some with more memory", least)]


def _fewest_parts(config: TrainConfig, devices: int, rows: int, memory: DeviceMemory) -> int:
    """Return the least number of parts of a micro-batch of `rows` with which it fits."""
    config = copy.deepcopy(config)
    config.optim.accumulate *= rows
    items = memory_items(config, devices)  # of micro-batches of a single row
    spare = (memory.nbytes or 0) - total(items)
    fitting = 1 + max(spare, 0) // max(items[-1].nbytes, 1)
    return next(
        parts for parts in range(1, rows + 1) if not rows % parts and rows / parts <= fitting
    )


def batch_shapes(config: TrainConfig, rows: int, stored_codes: int = 0) -> EditBatch:
    """Return the shapes of a batch of `rows` rows, with codes of each picture if there are any."""
    size, tokens = config.data.image_size, config.data.text_tokens
    pictures = Shape((rows, size, size, 3), jnp.uint8)
    ids, mask = (Shape((rows, tokens), dtype) for dtype in (jnp.int32, jnp.bool_))
    codes = Shape((rows, 2, stored_codes), jnp.int32) if stored_codes else None
    return EditBatch(pictures, pictures, ids, mask, None, codes=codes)


def _rows(config: TrainConfig, mesh: AbstractMesh) -> int:
    """Return the rows of a micro-batch on each device."""
    slices = mesh.shape["data"] * mesh.shape["fsdp"] * config.optim.accumulate
    return math.ceil(config.data.batch_size / slices)


def _activations(config: TrainConfig, objective: Objective, rows: int) -> int:
    """Estimate the bytes that a device needs for a micro-batch of `rows`, without gradients."""
    params = jax.eval_shape(objective.init, jax.eval_shape(lambda: rng.key_for(0, "init")))
    stacked = [x for path, x in tree.flatten(params).items() if "/blocks/" in path]
    block = 4 * sum(x.size // len(x) for x in stacked)  # gradient of a block, before it is stacked
    itemsize = jnp.dtype(config.dtype).itemsize
    is_copied = config.remat == "none" and itemsize < 4  # kernels in the dtype of products
    copies = itemsize * sum(x.size for x in stacked) if is_copied else 0
    return objective.activations(rows) + block + copies
