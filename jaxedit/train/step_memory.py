"""What a training step will hold in the memory of each device, told from the settings alone.

State is exact: shapes and shardings of what `initial_state` makes. What the step computes on the
way is an estimate, see `Objective.activations`, of one device's rows of a micro-batch.
"""

import copy
import functools
import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

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
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.objectives.registry import abstract_objective
from jaxedit.train.optim import make_optimizer
from jaxedit.train.step import init_state
from jaxedit.train.training_mesh import check_batch

Shape = jax.ShapeDtypeStruct


def memory_items(config: TrainConfig, devices: int) -> list[MemoryItem]:
    """Return everything that is in the memory of a device during a step.

    Args:
      config: the run.
      devices: of the mesh; none of them is needed.

    Raises:
      ConfigError: the mesh does not fit them, or the batch does not fit the mesh.
    """
    mesh = abstract_mesh(config.mesh, devices)
    check_batch(config, mesh)
    objective = abstract_objective(config)
    state = state_items(config, objective, mesh)
    parts, rows = config.optim.accumulate, _rows(config, mesh)
    return [
        *state,
        MemoryItem(
            "gradients", state[0].nbytes * min(parts, 2), "and their sum" if parts > 1 else ""
        ),
        MemoryItem("activations", _activations(config, objective, rows), f"estimate; {rows} rows"),
    ]


def state_items(
    config: TrainConfig, objective: Objective, mesh: Mesh | AbstractMesh
) -> list[MemoryItem]:
    """Return what stays in the memory of a device from step to step: parameters first."""
    optimizer = make_optimizer(config.optim, config.steps)
    state = jax.eval_shape(functools.partial(init_state, objective, optimizer, config))
    params = bytes_per_device(state.params, mesh)
    found = [
        MemoryItem("parameters", params, f"{tree.count(state.params):,} in float32"),
        MemoryItem("Adam's moments", bytes_per_device(state.opt_state, mesh)),
        MemoryItem("moving average", bytes_per_device(state.ema_params, mesh)),
        MemoryItem(
            "frozen networks",
            bytes_per_device(objective.frozen(), mesh),
            ", ".join(objective.frozen()),
        ),
    ]
    return [entry for entry in found if entry.nbytes]


def memory_savings(
    config: TrainConfig, devices: int, room: DeviceMemory, *, slices: int = 1
) -> list[MemorySaving]:
    """Return what saves memory, the cheapest first, each with the bytes needed from then on.

    Micro-batches become as small as they must to fit into the room, or have one row. Each of the
    TPU slices keeps a copy of the weights.
    """
    config = copy.deepcopy(config)
    sizes = dict(abstract_mesh(config.mesh, devices).shape)
    copies, found = sizes["data"], []

    def lever(change: str) -> None:
        found.append(MemorySaving(change, total(memory_items(config, devices))))

    if config.remat != "all":
        config.remat = "all"
        lever("--config.remat=all")
    if copies > slices:
        config.mesh.data, config.mesh.fsdp = slices, sizes["fsdp"] * copies // slices
        lever(f"--config.mesh.data={slices} --config.mesh.fsdp={config.mesh.fsdp}")
    rows = _rows(config, abstract_mesh(config.mesh, devices))
    if (parts := _fewest_parts(config, devices, rows, room)) > 1:
        config.optim.accumulate *= parts
        lever(f"--config.optim.accumulate={config.optim.accumulate}")
    if config.ema_decay:
        config.ema_decay = 0.0
        lever("--config.ema_decay=0")
    least = found[-1].nbytes if found else total(memory_items(config, devices))
    return [*found, MemorySaving("more devices (mesh.fsdp), or some with more memory", least)]


def _fewest_parts(config: TrainConfig, devices: int, rows: int, room: DeviceMemory) -> int:
    """Return into how few parts a micro-batch of `rows` must be cut to fit."""
    config = copy.deepcopy(config)
    config.optim.accumulate *= rows
    one = memory_items(config, devices)
    spare = (room.nbytes or 0) - total(one)
    fitting = 1 + max(spare, 0) // max(one[-1].nbytes, 1)
    return next(
        parts for parts in range(1, rows + 1) if not rows % parts and rows / parts <= fitting
    )


def batch_shapes(config: TrainConfig, rows: int) -> EditBatch:
    """Return the shapes of a batch."""
    size, tokens = config.data.image_size, config.data.text_tokens
    pictures = Shape((rows, size, size, 3), jnp.uint8)
    ids, mask = (Shape((rows, tokens), dtype) for dtype in (jnp.int32, jnp.bool_))
    return EditBatch(pictures, pictures, ids, mask, None)


def _rows(config: TrainConfig, mesh: AbstractMesh) -> int:
    """Return the rows of a micro-batch on each device."""
    slices = mesh.shape["data"] * mesh.shape["fsdp"] * config.optim.accumulate
    return math.ceil(config.data.batch_size / slices)


def _activations(config: TrainConfig, objective: Objective, rows: int) -> int:
    """Return the bytes of one micro-batch of `rows` beside the gradients, on one device."""
    params = jax.eval_shape(objective.init, jax.eval_shape(lambda: rng.key_for(0, "init")))
    stacked = [x for path, x in tree.flatten(params).items() if "/blocks/" in path]
    one_block = 4 * sum(x.size // len(x) for x in stacked)  # its gradient, before it joins the rest
    itemsize = jnp.dtype(config.dtype).itemsize
    is_copied = config.remat == "none" and itemsize < 4  # the kernels, as they are multiplied
    copies = itemsize * sum(x.size for x in stacked) if is_copied else 0
    return objective.activations(rows) + one_block + copies
