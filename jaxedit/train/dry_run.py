"""A training step for devices that need not be here: compiled, never run; what it holds and sends.

With libtpu it is compiled for the TPUs that are named, and the memory is the compiler's own. Else
it is compiled for as many simulated CPU devices: what they send is what others send at most, as
XLA:CPU widens bfloat16 and has no reduce-scatter of gradients, but their memory is not that of
others, so that is told from the settings (`memory`).
"""

import functools
import re
import time
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from jaxedit.config import MeshConfig, TrainConfig
from jaxedit.planning.collectives import Traffic, traffic, traffic_table
from jaxedit.planning.device_memory import (
    GB,
    DeviceMemory,
    MemoryItem,
    MemorySaving,
    bytes_per_device,
    fits,
    table,
    total,
)
from jaxedit.planning.mesh_choice import Machine, choose
from jaxedit.planning.topology import Pod, devices_of
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import AXES, make_mesh
from jaxedit.train import step_memory
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.objectives.registry import abstract_objective
from jaxedit.train.optim import make_optimizer
from jaxedit.train.step import init_state, jit_step
from jaxedit.train.training_mesh import check_batch, workload_of

# A program for simulated devices is read and never run.
_UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# how the TPU compiler says that a program is too large: for all it needs, or for temporaries
_TOO_LARGE = re.compile(r"(Used |HLO temporaries \()([\d.]+)([KMGT]?)\b")


class Compiled(NamedTuple):
    """What the compiler says of a step.

    seconds: that it took; arguments: bytes of state and batch on a device, and of what the step
    needs of the frozen networks; temporary: bytes of all else; traffic: what is sent, None if the
    program was too large.
    """

    seconds: float
    arguments: float
    temporary: float
    traffic: list[Traffic] | None


class DryRun(NamedTuple):
    """A step on a pod.

    mesh: the mesh, and why that; entries: what a device holds; compiled: see there; room: the
    memory of a device; is_compilers: whether the memory is the compiler's, not an estimate.
    """

    pod: Pod
    mesh: MeshConfig
    why: str
    entries: list[MemoryItem]
    compiled: Compiled
    room: DeviceMemory
    is_compilers: bool

    @property
    def fits(self) -> bool:
        """Return whether the step fits into the memory, as far as is known."""
        return fits(self.entries, self.room) and self.compiled.traffic is not None


def dry_run(config: TrainConfig, pod: Pod, room: DeviceMemory) -> DryRun:
    """Compile a step of the run for a pod; the mesh is chosen as on the pod itself.

    Args:
      config: the run; its mesh becomes the chosen one.
      pod: the devices.
      room: the memory of each.

    Raises:
      ConfigError: mesh or batch do not fit the pod.
    """
    devices = devices_of(pod)
    objective = abstract_objective(config)
    machine = Machine(pod.devices, pod.slices, room)
    config.mesh, why = choose(config.mesh, machine, workload_of(config, objective))
    mesh = make_mesh(config.mesh, devices)
    check_batch(config, mesh)
    compiled = compile_step(config, objective, mesh)
    is_compilers = is_on_tpu(mesh)
    if is_compilers:
        rows = config.data.batch_size // (config.mesh.data * config.mesh.fsdp)
        entries = [
            *step_memory.state_items(config, objective, mesh),
            MemoryItem(
                "batch",
                bytes_per_device(step_memory.batch_shapes(config, rows), None),
                f"{rows} rows",
            ),
            MemoryItem("temporary", compiled.temporary, "gradients, activations, gathered weights"),
        ]
    else:
        entries = step_memory.memory_items(config, pod.devices)
    return DryRun(pod, config.mesh, why, entries, compiled, room, is_compilers)


def compile_step(config: TrainConfig, objective: Objective, mesh: Mesh) -> Compiled:
    """Compile the step of a run for the devices of a mesh, from shapes alone."""
    start = time.perf_counter()
    lowered = lower_step(config, objective, mesh)
    try:
        program = lowered.compile({} if is_on_tpu(mesh) else _UNOPTIMISED)
    except jax.errors.JaxRuntimeError as error:
        found = _TOO_LARGE.search(str(error))
        if not found:
            raise
        nbytes = float(found[2]) * 1024.0 ** " KMGT".index(found[3] or " ")
        held = total(step_memory.state_items(config, objective, mesh))
        temporary = max(nbytes - held, 0) if found[1] == "Used " else nbytes
        return Compiled(time.perf_counter() - start, held, temporary, None)
    sizes = program.memory_analysis()
    temporary = sizes.temp_size_in_bytes + sizes.generated_code_size_in_bytes
    temporary += sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    sent = traffic(program.as_text(), mesh)
    seconds = time.perf_counter() - start
    return Compiled(seconds, sizes.argument_size_in_bytes, temporary, sent)


def lower_step(config: TrainConfig, objective: Objective, mesh: Mesh) -> jax.stages.Lowered:
    """Lower the step of a run for a mesh, ready to be compiled."""
    optimizer = make_optimizer(config.optim, config.steps)
    state = jax.eval_shape(functools.partial(init_state, objective, optimizer, config))
    state, frozen = (
        rules.with_shardings(x, rules.state_shardings(x, mesh)) for x in (state, objective.frozen())
    )
    batch = step_memory.batch_shapes(config, config.data.batch_size)
    batch = rules.with_shardings(batch, jax.tree.map(lambda _: rules.batch_sharding(mesh), batch))
    with jax.set_mesh(mesh):  # only now, because nothing can run there
        return jit_step(config, objective, state, frozen, mesh).lower(state, frozen, batch)


def text(run: DryRun, config: TrainConfig) -> str:
    """Return the tables: mesh, memory with a verdict, and what is sent."""
    pod, compiled = run.pod, run.compiled
    sizes = " x ".join(f"{axis}={getattr(run.mesh, axis)}" for axis in AXES)
    lines = [f"{pod.name}: {pod.devices} devices: {sizes}: {run.why}"]
    if run.is_compilers:
        lines.append(f"compiled for {pod.topology} by libtpu in {compiled.seconds:.0f} s")
    else:
        missing = " (the package libtpu is not installed)" if pod.topology else ""
        lines.append(
            f"compiled for {pod.devices} simulated CPU devices{missing} in "
            f"{compiled.seconds:.0f} s; memory is an estimate (XLA:CPU: "
            f"{compiled.arguments / GB:.2f} GB of arguments, {compiled.temporary / GB:.2f} GB more)"
        )
    lines.append(table("on each device:", run.entries, run.room, _levers(run, config)))
    if compiled.traffic is not None:
        lines.append(traffic_table(compiled.traffic))
        if compiled.traffic and not run.is_compilers:
            lines.append("at most: XLA:CPU sends bfloat16 as float32, and adds up whole gradients")
    return "\n".join(lines)


def _levers(run: DryRun, config: TrainConfig) -> list[MemorySaving]:
    """Return what to change if it does not fit: estimates, scaled by what the compiler found."""
    if run.fits:
        return []
    pod, room = run.pod, run.room
    scale = total(run.entries) / total(step_memory.memory_items(config, pod.devices))
    room = room._replace(nbytes=room.nbytes and room.nbytes / scale)
    levers = step_memory.memory_savings(config, pod.devices, room, slices=pod.slices)
    return [lever._replace(nbytes=lever.nbytes * scale) for lever in levers]


def is_on_tpu(mesh: Mesh) -> bool:
    """Return whether the devices of a mesh are TPUs."""
    return mesh.devices.flat[0].platform == "tpu"
