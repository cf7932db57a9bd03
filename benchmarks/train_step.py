"""Time, memory and share of the devices' arithmetic of one training step on this machine.

    python benchmarks/train_step.py --config=configs/var_sar.py:tiny
    python benchmarks/train_step.py --config=configs/editar.py:xl --remat=all,cheap
    python benchmarks/train_step.py --config=configs/var_sar.py:2b --fit --json=step.json

Settings are changed as in training: --config.data.batch_size=64 --config.mesh.tensor=2. Weights and
pictures are random. With --fit the batch is the largest power of two that is estimated to fit into
four fifths of the memory; where none does, with --config.remat=all and --config.ema_decay=0. With
--count nothing runs. What a pod needs, which need not be here, is told by
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
import functools
import pathlib
import sys
import time

from device import peak_memory, write_json
from random_values import normal

LARGEST = 64  # rows of a device that --fit chooses


def parse() -> tuple[argparse.Namespace, list[str]]:
    """The command line: this script's arguments and those of the config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=10, help="steps to time")
    parser.add_argument("--remat", default="", help="several values of --config.remat, as a,b")
    about = "batches hold codes, as jaxedit.datasets.encode stores them; of EditAR and LlamaGen"
    parser.add_argument("--stored_codes", action="store_true", help=about)
    parser.add_argument("--count", action="store_true", help="only count; run nothing")
    parser.add_argument("--fit", action="store_true", help="choose the batch by the memory")
    parser.add_argument("--json", type=pathlib.Path, help="file for the results")
    return parser.parse_known_args()


def main() -> None:
    """Measure one step after the other."""
    args, settings = parse()
    from jaxedit.config import family_of
    from jaxedit.train import command

    config = command.parse(["", "--workdir=unused", *settings]).config
    if args.stored_codes and "vq" not in family_of(config.model).networks:
        sys.exit("--stored_codes: expected a config of EditAR or LlamaGen")
    results = []
    for remat in args.remat.split(",") if args.remat else [config.remat]:
        changed = copy.deepcopy(config)
        changed.remat = remat
        changed.validate()
        if args.fit:
            fit(changed)
        print(f"--config.remat={changed.remat}", flush=True)
        results.append(count(changed) if args.count else measure(changed, args))
    write_json(args.json, results)


def fit(config) -> None:
    """Set the largest batch that fits; exit with the reason if none does."""
    import jax

    from jaxedit.planning.device_memory import GB, fits, memory_of_device, total
    from jaxedit.train.objectives.registry import abstract_objective
    from jaxedit.train.step_memory import memory_items
    from jaxedit.train.training_mesh import chosen_mesh

    devices, memory = jax.device_count(), memory_of_device(jax.local_devices()[0])
    memory = memory._replace(nbytes=memory.nbytes and 0.8 * memory.nbytes)
    config.data.batch_size = devices
    for saving in ({}, {"remat": "all", "ema_decay": 0.0}):
        vars(config).update(saving)
        config.mesh = chosen_mesh(config, abstract_objective(config))
        items = memory_items(config, devices)  # of a row on each device; activations are the last
        if fits(items, memory):
            spare = (memory.nbytes or 0) - total(items)
            rows = 1 + int(max(spare, 0) // items[-1].nbytes)
            config.data.batch_size = devices * min(LARGEST, 1 << rows.bit_length() - 1)
            print(f"--config.data.batch_size={config.data.batch_size}")
            return
    need, have = total(items) / GB, memory.nbytes / GB
    sys.exit(f"a row needs {need:.1f} GB, of which {have:.1f} may be used on {memory.of}")


def count(config) -> dict:
    """Print and return a sample's operations, and the memory that it takes on the way."""
    from jaxedit.train.metrics import flops_per_pair
    from jaxedit.train.objectives.registry import abstract_objective

    objective = abstract_objective(config)
    flops, nbytes = flops_per_pair(objective), objective.activations(1)
    print(f"{flops / 1e12:.2f} TFLOP, {nbytes / 1e9:.2f} GB of activations")
    return {"remat": config.remat, "tflop": flops / 1e12, "activations_gb": nbytes / 1e9}


def measure(config, args: argparse.Namespace) -> dict:
    """Compile the step, run it on random values, and print and return what it takes."""
    from jaxedit.sharding.mesh import make_mesh
    from jaxedit.train.dry_run import lower_step
    from jaxedit.train.metrics import step_flops
    from jaxedit.train.objectives.registry import abstract_objective
    from jaxedit.train.training_mesh import chosen_mesh

    objective = abstract_objective(config)
    objective.has_stored_codes = args.stored_codes
    work = step_flops(config, objective)
    mesh = make_mesh(chosen_mesh(config, objective))
    start = time.perf_counter()
    lowered = lower_step(config, objective, mesh)
    compiled = lowered.compile()
    compile_s = time.perf_counter() - start
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    held += memory.output_size_in_bytes - memory.alias_size_in_bytes
    print(f"{dict(mesh.shape)}: compiled in {compile_s:.1f} s")
    print(
        f"{held / 1e9:.2f} GB on each device, {memory.argument_size_in_bytes / 1e9:.2f} of state",
        flush=True,
    )
    wall, cpu = timed(compiled, lowered.args_info[0], args.steps)
    rates = work.rates(1 / wall)
    print(f"{1000 * wall:.0f} ms a step ({1000 * cpu:.0f} ms of CPU)", end=", ")
    print(
        f"{config.data.batch_size / wall:.1f} img/s, {work.flops / 1e12:.3g} TFLOP a step", end=", "
    )
    share = f", MFU {rates['mfu']:.1%}" if "mfu" in rates else ""
    print(f"{rates['tflops_per_device']:.3g} TFLOP/s on each device{share}", flush=True)
    return {
        "batch": config.data.batch_size,
        "remat": config.remat,
        "dtype": config.dtype,
        "compile_s": compile_s,
        "ms_per_step": 1e3 * wall,
        "images_per_s": config.data.batch_size / wall,
        "program_mb": held / 1e6,
        "peak_mb": peak_memory(),
        **rates,
    }


def timed(compiled, shapes, steps: int) -> tuple[float, float]:
    """Seconds and CPU seconds of a step on random values."""
    import jax
    import numpy as np

    random = np.random.default_rng(0)

    def fill(shape, sharding):
        if shape.dtype == np.uint8:
            values = random.integers(0, 256, shape.shape, np.uint8)
        elif jax.dtypes.issubdtype(shape.dtype, np.floating):
            values = normal(shape.shape, shape.dtype)
        else:
            values = np.ones(shape.shape, shape.dtype)
        return jax.device_put(values, sharding)

    state, frozen, batch = jax.tree.map(fill, shapes, compiled.input_shardings[0])
    positive = jax.jit(functools.partial(jax.tree.map, abs), donate_argnums=0)
    state = dataclasses.replace(state, opt_state=positive(state.opt_state))
    state, _ = jax.block_until_ready(compiled(state, frozen, batch))
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        state, metrics = compiled(state, frozen, batch)
    jax.block_until_ready((state, metrics))
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


if __name__ == "__main__":
    main()
