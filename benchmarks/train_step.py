"""Time, memory and share of the devices' arithmetic of one training step on this machine.

    python benchmarks/train_step.py --config=configs/var_sar.py:tiny
    python benchmarks/train_step.py --config=configs/editar.py:xl --remat=all,cheap

Settings are changed as in training: --config.data.batch_size=64 --config.mesh.tensor=2. Weights and
pictures are random. With --count nothing runs. What a pod needs, which need not be here, is told by
python -m jaxedit.train --dry_run --devices=NAME.

GB of activations of one sample (--count), estimated as in --dry_run; a step of it needs 12.39 and
51.56 TFLOP, whatever is computed again:

    --config.remat       editar.py:xl   var_sar.py:2b
    none                 18.24          31.93
    cheap                 2.82           6.64
    all                   0.81           1.53

--config.unroll gains little on two CPU cores: a step of var_sar.py:tiny took 445 to 493 ms with 1
and 401 to 488 ms with 4 blocks a turn, in turns; editar.py:tiny is no faster with 2 or 4.
"""

import argparse
import copy
import dataclasses
import time


def parse() -> tuple[argparse.Namespace, list[str]]:
    """The command line: this script's arguments and those of the config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=10, help="steps to time")
    parser.add_argument("--remat", default="", help="several values of --config.remat, as a,b")
    parser.add_argument("--count", action="store_true", help="only count; run nothing")
    return parser.parse_known_args()


def main() -> None:
    """Measure one step after the other."""
    args, settings = parse()
    from jaxedit.train import command

    config = command.parse(["", "--workdir=unused", *settings]).config
    for remat in args.remat.split(",") if args.remat else [config.remat]:
        changed = copy.deepcopy(config)
        changed.remat = remat
        changed.validate()
        print(f"--config.remat={remat}", flush=True)
        count(changed) if args.count else measure(changed, args.steps)


def count(config) -> None:
    """Print the operations of one sample's step, and the memory that it takes on the way."""
    from jaxedit.train.metrics import flops_per_pair
    from jaxedit.train.objectives.registry import abstract_objective

    objective = abstract_objective(config)
    flops, nbytes = flops_per_pair(objective), objective.activations(1)
    print(f"{flops / 1e12:.2f} TFLOP, {nbytes / 1e9:.2f} GB of activations")


def measure(config, steps: int) -> None:
    """Compile the step of the config, run it on random values, and print what it takes."""
    from jaxedit.sharding.mesh import make_mesh
    from jaxedit.train.dry_run import lower_step
    from jaxedit.train.metrics import step_flops
    from jaxedit.train.objectives.registry import abstract_objective
    from jaxedit.train.training_mesh import chosen_mesh

    objective = abstract_objective(config)
    work = step_flops(config, objective)
    mesh = make_mesh(chosen_mesh(config, objective))
    start = time.perf_counter()
    lowered = lower_step(config, objective, mesh)
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    held += memory.output_size_in_bytes - memory.alias_size_in_bytes
    print(f"{dict(mesh.shape)}: compiled in {time.perf_counter() - start:.1f} s")
    print(f"{held / 1e9:.2f} GB on each device, {memory.argument_size_in_bytes / 1e9:.2f} of state")
    wall, cpu = timed(compiled, lowered.args_info[0], steps)
    rates = work.rates(1 / wall)
    print(f"{1000 * wall:.0f} ms a step ({1000 * cpu:.0f} ms of CPU)", end=", ")
    print(
        f"{config.data.batch_size / wall:.1f} img/s, {work.flops / 1e12:.3g} TFLOP a step", end=", "
    )
    share = f", MFU {rates['mfu']:.1%}" if "mfu" in rates else ""
    print(f"{rates['tflops_per_device']:.3g} TFLOP/s on each device{share}", flush=True)


def timed(compiled, shapes, steps: int) -> tuple[float, float]:
    """Seconds and CPU seconds of a step on random values."""
    import jax
    import numpy as np

    random = np.random.default_rng(0)

    def fill(shape, sharding):
        if shape.dtype == np.uint8:
            values = random.integers(0, 256, shape.shape, np.uint8)
        elif np.issubdtype(shape.dtype, np.floating):
            values = random.normal(0, 0.02, shape.shape).astype(shape.dtype)
        else:
            values = np.ones(shape.shape, shape.dtype)
        return jax.device_put(values, sharding)

    state, frozen, batch = jax.tree.map(fill, shapes, compiled.input_shardings[0])
    state = dataclasses.replace(state, opt_state=jax.tree.map(abs, state.opt_state))
    state, _ = jax.block_until_ready(compiled(state, frozen, batch))
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        state, metrics = compiled(state, frozen, batch)
    jax.block_until_ready((state, metrics))
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


if __name__ == "__main__":
    main()
