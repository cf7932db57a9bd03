"""A training step compiled for devices that need not be at hand: its memory and communication.

With libtpu the step is compiled for the named TPUs, and the memory is the compiler's own number.
Otherwise it is compiled for as many simulated CPU devices. Their communication is an upper bound,
because XLA:CPU widens bfloat16 and has no reduce-scatter of gradients. Their memory differs from
other devices, so it is estimated from the settings (`step_memory`).
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

# A program for simulated devices is only read, never run.
_UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# The TPU compiler's messages about a program that is too large, in total or in its temporaries.
_TOO_LARGE = re.compile(r"(Used |HLO temporaries \()([\d.]+)([KMGT]?)\b")


class Compiled(NamedTuple):
    """The compiler's numbers for a step, per device."""

    seconds: float  # that it took to compile
    arguments: float  # bytes of state, batch and the frozen networks that are used
    temporary: float  # bytes of everything else
    traffic: list[Traffic] | None  # None: the program is too large


class DryRun(NamedTuple):
    """A step on a pod."""

    pod: Pod
    mesh: MeshConfig
    why: str  # the reason for the mesh
    items: list[MemoryItem]  # in the memory of a device
    compiled: Compiled
    memory: DeviceMemory
    is_exact: bool  # the items are the compiler's, not an estimate

    @property
    def fits(self) -> bool:
        """Tell whether the step fits into the memory; True if the memory is not known."""
        return fits(self.items, self.memory) and self.compiled.traffic is not None


def dry_run(config: TrainConfig, pod: Pod, memory: DeviceMemory) -> DryRun:
    """Compile a step of the run for a pod whose devices have this memory.

    The mesh is chosen as on the pod itself, and becomes the config's mesh.

    Raises:
      ConfigError: mesh or batch do not fit the pod.
    """
    devices = devices_of(pod)
    objective = abstract_objective(config)
    machine = Machine(pod.devices, pod.slices, memory)
    config.mesh, why = choose(config.mesh, machine, workload_of(config, objective))
    mesh = make_mesh(config.mesh, devices)
    check_batch(config, mesh)
    compiled = compile_step(config, objective, mesh)
    is_exact = is_on_tpu(mesh)
    if is_exact:
        rows = config.data.batch_size // (config.mesh.data * config.mesh.fsdp)
        batch = bytes_per_device(step_memory.batch_shapes(config, rows), None)
        temporary = "gradients, activations, gathered weights"
        items = [
            *step_memory.state_items(config, objective, mesh),
            MemoryItem("batch", batch, f"{rows} rows"),
            MemoryItem("temporary", compiled.temporary, temporary),
        ]
    else:
        items = step_memory.memory_items(config, pod.devices)
    return DryRun(pod, config.mesh, why, items, compiled, memory, is_exact)


def compile_step(config: TrainConfig, objective: Objective, mesh: Mesh) -> Compiled:
    """Compile a step for the devices of a mesh, from shapes alone."""
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
    """Lower a step for a mesh, ready to be compiled."""
    optimizer = make_optimizer(config.optim, config.steps)
    state = jax.eval_shape(functools.partial(init_state, objective, optimizer, config))
    state, frozen = (
        rules.with_shardings(x, rules.state_shardings(x, mesh)) for x in (state, objective.frozen())
    )
    codes = 0
    if objective.has_stored_codes:
        codes = (config.data.image_size // objective.frozen_tokenizer().module.config.stride) ** 2
    batch = step_memory.batch_shapes(config, config.data.batch_size, codes)
    batch = rules.with_shardings(batch, jax.tree.map(lambda _: rules.batch_sharding(mesh), batch))
    with jax.set_mesh(mesh):  # only now: nothing can run on these devices
        return jit_step(config, objective, state, frozen, mesh).lower(state, frozen, batch)


def text(run: DryRun, config: TrainConfig) -> str:
    """Return the tables: mesh, memory with a verdict, and communication."""
    pod, compiled = run.pod, run.compiled
    sizes = " x ".join(f"{axis}={getattr(run.mesh, axis)}" for axis in AXES)
    lines = [f"{pod.name}: {pod.devices} devices: {sizes}: {run.why}"]
    if run.is_exact:
        lines.append(f"compiled for {pod.topology} by libtpu in {compiled.seconds:.0f} s")
    else:
        missing = " (the package libtpu is not installed)" if pod.topology else ""
        lines.append(
            f"compiled for {pod.devices} simulated CPU devices{missing} in "
            f"{compiled.seconds:.0f} s; memory is an estimate (XLA:CPU: "
            f"{compiled.arguments / GB:.2f} GB of arguments, {compiled.temporary / GB:.2f} GB more)"
        )
    lines.append(table("on each device:", run.items, run.memory, _savings(run, config)))
    if compiled.traffic is not None:
        lines.append(traffic_table(compiled.traffic))
        if compiled.traffic and not run.is_exact:
            lines.append("at most: XLA:CPU sends bfloat16 as float32, and adds up whole gradients")
    return "\n".join(lines)


def _savings(run: DryRun, config: TrainConfig) -> list[MemorySaving]:
    """List settings to change if the step does not fit; estimates, scaled to the compiler's sum."""
    if run.fits:
        return []
    pod, memory = run.pod, run.memory
    scale = total(run.items) / total(step_memory.memory_items(config, pod.devices))
    memory = memory._replace(nbytes=memory.nbytes and memory.nbytes / scale)
    savings = step_memory.memory_savings(config, pod.devices, memory, slices=pod.slices)
    return [saving._replace(nbytes=saving.nbytes * scale) for saving in savings]


def is_on_tpu(mesh: Mesh) -> bool:
    """Tell whether the devices of a mesh are TPUs."""
    return mesh.devices.flat[0].platform == "tpu"
