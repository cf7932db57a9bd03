"""Compile a training step for a TPU chip, without one, and print what the compiler makes of it.

    pip install "jax[tpu]" && python benchmarks/train_tpu.py --config=configs/editar.py:xl --rows=2

Printed are the compiler's own estimates of the step's operations at `--ghz`, by network and kind,
and the share of the chip's peak that they amount to. Attention kernels have no estimate; they are
assumed to take twice as long as their products would at the peak. Nothing is executed. Moving data
takes less time than estimated, and operations that run side by side are added up.

Settings are changed as in training: --config.remat=all. A step compiles in about 5 minutes on a
free core. Two rows of editar.py:xl took 285 ms on one v5p, 18.9 % of its peak, before queries, keys
and values were projected straight into heads; docs/numbers.md has the table, and what followed.
"""

import argparse
import pathlib
import re
import time

import tpu_cycles

PLACES = {  # an operation is where the first pattern is found in its name, or its loop's
    "image tokenizer": "(VQ|BSQ)Tokenizer",
    "text encoder": "T5Encoder",
    "teacher": "ViT",
    "backward": r"transpose\(",
    "forward": r"jvp\(",
}
OTHERS = "optimizer"  # and the average, clipping, and copies without a name
KINDS = ("product", "copy", "elementwise")
MOVING = ("concatenate", "pad", "update", "slice", "copy")  # categories that count as copies
# Products of the kernels with the shape of the scores: two forward, seven backward.
FORWARD, BACKWARD = 2, 7


def main() -> None:
    """Compile, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=2, help="of the batch")
    parser.add_argument("--devices", default="v5p-8", help="a pod, of which one chip is used")
    parser.add_argument("--ghz", type=float, default=1.75, help="clock that turns cycles into time")
    parser.add_argument("--stored_codes", action="store_true", help="the batch holds VQ codes")
    parser.add_argument("--hlo", type=pathlib.Path, help="file for the compiled program")
    args, settings = parser.parse_known_args()
    from jaxedit.planning import topology
    from jaxedit.planning.device_memory import peak_flops

    pod = topology.pod(args.devices)
    device = topology.devices_of(pod)[0]
    config, objective = run_of(settings, args)
    start = time.perf_counter()
    compiled = lower(config, objective, device).compile()
    seconds = time.perf_counter() - start
    text, memory = compiled.as_text(), compiled.memory_analysis()
    if args.hlo:
        args.hlo.write_text(text, "utf-8")
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    print(
        f"{args.rows} rows on one {pod.kind}: compiled in {seconds:.0f} s, {held / 1e9:.1f} GB of "
        f"memory, of which {memory.temp_size_in_bytes / 1e9:.1f} temporary"
    )
    report(text, config, objective, peak=peak_flops(pod.kind), ghz=args.ghz)


def run_of(settings: list[str], args: argparse.Namespace):
    """The config and the objective of a step on a single chip."""
    from jaxedit.config import MeshConfig
    from jaxedit.train import command
    from jaxedit.train.objectives.registry import abstract_objective

    config = command.parse(["", "--workdir=unused", *settings]).config
    config.data.batch_size, config.mesh = args.rows, MeshConfig(data=1)
    objective = abstract_objective(config)
    objective.has_stored_codes = args.stored_codes
    return config, objective


def lower(config, objective, device):
    """A step, lowered for the device."""
    from jaxedit.sharding.mesh import make_mesh
    from jaxedit.train.dry_run import lower_step

    return lower_step(config, objective, make_mesh(config.mesh, [device]))


def report(text: str, config, objective, *, peak: float, ghz: float) -> None:
    """Print milliseconds by network and kind, their sum, and its share of the peak."""
    from jaxedit.train.metrics import flops_per_pair

    found = tpu_cycles.cycles(text, category_of)
    print(f"{'ms, estimated':<16}" + "".join(f"{kind:>13}" for kind in (*KINDS, "all")))
    for place in (*PLACES, OTHERS):
        row = [found[f"{place}/{kind}"] / ghz / 1e6 for kind in KINDS]
        if any(row):
            print(f"{place:<16}" + "".join(f"{ms:13.1f}" for ms in (*row, sum(row))))
    kernels = 1e3 * kernel_seconds(config, objective, peak)
    total = found.total() / ghz / 1e6 + kernels
    flops = config.data.batch_size * flops_per_pair(objective)
    print(f"{'kernels, assumed':<16}{kernels:52.1f}")
    print(f"all {total:.0f} ms for {flops / 1e12:.1f} TFLOP: {flops / total * 1e3 / peak:.1%}")


def category_of(operations: set[str], names: str) -> str:
    """Return place and kind of an operation."""
    place = next((place for place, name in PLACES.items() if re.search(name, names)), OTHERS)
    category = tpu_cycles.category_of(operations)
    kind = "copy" if category in MOVING else category
    return f"{place}/{kind if kind in KINDS else 'elementwise'}"


def kernel_seconds(config, objective, peak: float) -> float:
    """The seconds that are assumed for the transformer's attention kernels."""
    scores = sum(p.forward.scores for p in objective.passes() if p.network == "transformer")
    runs = 1 + (config.remat != "none") + BACKWARD / FORWARD
    return tpu_cycles.KERNEL_SLOWNESS * runs * scores * config.data.batch_size / peak


if __name__ == "__main__":
    main()
