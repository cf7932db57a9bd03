"""The mesh of a run: the axes that its config gives, and the rest chosen by memory and batch."""

import contextlib
import logging
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxedit import rng
from jaxedit.config import MeshConfig, TrainConfig, require, sizes_of
from jaxedit.planning.device_memory import bytes_per_device, memory_of_device
from jaxedit.planning.mesh_choice import Machine, Workload, choose
from jaxedit.sharding import distributed
from jaxedit.sharding.mesh import AXES, make_mesh, slices_of
from jaxedit.sharding.rules import AnyMesh
from jaxedit.train.objectives.objective import Objective

log = logging.getLogger(__name__)


@contextlib.contextmanager
def on_training_mesh(config: TrainConfig, objective: Objective) -> Iterator[Mesh]:
    """Make the mesh of this run's devices, and set it inside the block.

    All processes of the run take part. The batch is checked to fit the mesh.

    Raises:
      ConfigError: axes or batch do not fit the devices.
    """
    mesh = make_mesh(chosen_mesh(config, objective))
    distributed.log_process(mesh)
    check_batch(config, mesh)
    with jax.set_mesh(mesh):
        yield mesh


def chosen_mesh(
    config: TrainConfig, objective: Objective, machine: Machine | None = None
) -> MeshConfig:
    """Choose the mesh of a run, and log its axes with the reason.

    Args:
      config: the run.
      objective: what is trained; only shapes are needed.
      machine: the devices; default: all devices of this run, in agreement with all processes.

    Raises:
      ConfigError: the given axes do not fit the devices.
    """
    is_here = machine is None
    machine = machine or this_machine()
    mesh, why = choose(config.mesh, machine, workload_of(config, objective))
    if is_here and jax.process_count() > 1:  # hosts may differ in memory: the first decides
        sizes = np.array([getattr(mesh, axis) for axis in AXES])
        mesh = MeshConfig(
            **dict(zip(AXES, map(int, multihost_utils.broadcast_one_to_all(sizes)), strict=True))
        )
    sizes = " x ".join(f"{axis}={getattr(mesh, axis)}" for axis in AXES)
    log.info("mesh of %d devices: %s: %s", machine.devices, sizes, why)
    return mesh


def this_machine() -> Machine:
    """Return all devices of this run; each is assumed to have the memory of this host's first."""
    devices = jax.devices()
    return Machine(len(devices), len(slices_of(devices)), memory_of_device(jax.local_devices()[0]))


def check_batch(config: TrainConfig, mesh: AnyMesh) -> None:
    """Raise ConfigError unless every micro-batch divides over the devices that cut the batch."""
    rows = mesh.shape["data"] * mesh.shape["fsdp"] * config.optim.accumulate
    require(
        config.data.batch_size % rows == 0,
        f"data.batch_size={config.data.batch_size}: expected a multiple of {rows} "
        "(mesh data x fsdp x optim.accumulate)",
    )


def workload_of(config: TrainConfig, objective: Objective) -> Workload:
    """Return what the run demands of the mesh."""
    params = jax.eval_shape(objective.init, rng.key_for(config.seed, "init"))
    copies = 5 if config.ema_decay else 4  # parameters, gradients, two moments, average
    rows = config.data.batch_size // config.optim.accumulate
    nbytes = copies * bytes_per_device(params, None) + bytes_per_device(objective.frozen(), None)
    return Workload(nbytes, rows, getattr(sizes_of(config.model), "heads", 1))
