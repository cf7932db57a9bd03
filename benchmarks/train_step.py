"""Time and memory of one training step of an editor, here or compiled for a TPU topology.

    python benchmarks/train_step.py --config=configs/var_sar.py:tiny
    python benchmarks/train_step.py --config=configs/editar.py:tiny
    python benchmarks/train_step.py --config=configs/var_sar.py:2b-256 --topology=v5p:4x4x4

Settings are changed as in training: --config.data.batch_size=64 --config.mesh.tensor=2. Weights and
pictures are random. With --topology nothing runs and no TPU is needed, only the package
libtpu: the compiler reports the memory of each device and the collectives of a step.
"""

import argparse
import collections
import dataclasses
import functools
import os
import re
import time

# libtpu asks for the machine it is on; any answer will do, because nothing runs there.
PRETEND = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def parse() -> tuple[argparse.Namespace, list[str]]:
    """The command line: this script's arguments and those of the config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--topology", default="", help="for example v5p:4x4x4")
    parser.add_argument("--steps", type=int, default=10, help="steps to time")
    return parser.parse_known_args()


def main() -> None:
    """Compile, report, and run unless a topology is given."""
    args, settings = parse()
    if args.topology:
        os.environ.update(PRETEND)
    from jaxedit.train import command

    config = command.parse(["", "--workdir=unused", *settings]).config
    compiled, arguments = compile_step(config, args.topology)
    report(compiled)
    if not args.topology:
        run(config, compiled, arguments, args.steps)


def compile_step(config, topology: str):
    """The compiled step of the config and the shapes of its arguments."""
    import jax
    from jax.experimental import topologies

    from jaxedit.parallel import sharding
    from jaxedit.parallel.mesh import make_mesh
    from jaxedit.train.loop import jit_step
    from jaxedit.train.memory import abstract_objective, batch_shapes
    from jaxedit.train.optim import make_optimizer
    from jaxedit.train.step import init_state

    devices = topologies.get_topology_desc(topology, "tpu").devices if topology else None
    mesh = make_mesh(config.mesh, devices)
    objective = abstract_objective(config)
    batch = batch_shapes(config, config.data.batch_size)
    frozen = objective.frozen()
    with jax.set_mesh(mesh):
        optimizer = make_optimizer(config.optim, config.steps)
        state = jax.eval_shape(functools.partial(init_state, objective, optimizer, config))
        state, frozen = (laid_out(x, sharding.state_shardings(x, mesh)) for x in (state, frozen))
        batch = laid_out(batch, jax.tree.map(lambda _: sharding.batch_sharding(mesh), batch))
        start = time.perf_counter()
        compiled = jit_step(config, objective, state, frozen, mesh).lower(state, frozen, batch)
        compiled = compiled.compile()
    print(f"{dict(mesh.shape)}: compiled in {time.perf_counter() - start:.1f} s")
    return compiled, (state, frozen, batch)


def laid_out(shapes, layout):
    """ShapeDtypeStructs with their shardings."""
    import jax

    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, layout
    )


def report(compiled) -> None:
    """Memory of one device and the collectives in the program."""
    memory = compiled.memory_analysis()
    gb = {
        name: getattr(memory, f"{name}_size_in_bytes") / 1e9
        for name in ("argument", "output", "temp", "alias")
    }
    total = gb["argument"] + gb["output"] + gb["temp"] - gb["alias"]
    print(f"memory of one device: {total:.2f} GB (state and batch {gb['argument']:.2f} GB)")
    names = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
    found = collections.Counter(re.findall(rf" ({names})(?:-start)?\(", compiled.as_text()))
    print("collectives in the program:", dict(found) or "none")


def run(config, compiled, arguments, steps: int) -> None:
    """Run the step on random values and print its time."""
    import jax
    import numpy as np

    random = np.random.default_rng(0)

    def fill(shape):
        if shape.dtype == np.uint8:
            values = random.integers(0, 256, shape.shape, np.uint8)
        elif np.issubdtype(shape.dtype, np.floating):
            values = random.normal(0, 0.02, shape.shape).astype(shape.dtype)
        else:
            values = np.ones(shape.shape, shape.dtype)
        return jax.device_put(values, shape.sharding)

    state, frozen, batch = jax.tree.map(fill, arguments)
    state = dataclasses.replace(state, opt_state=jax.tree.map(lambda x: abs(x), state.opt_state))
    state, _ = jax.block_until_ready(compiled(state, frozen, batch))
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        state, metrics = compiled(state, frozen, batch)
    jax.block_until_ready((state, metrics))
    wall, cpu = (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps
    rate = config.data.batch_size / wall
    print(f"{1000 * wall:.0f} ms a step ({1000 * cpu:.0f} ms of CPU), {rate:.1f} img/s")


if __name__ == "__main__":
    main()
