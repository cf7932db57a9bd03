"""Compile the parts of an edit by VAREdit for TPU chips that share the weights, without a TPU.

    pip install "jax[tpu]" && python benchmarks/edit_tpu.py --model=varedit-8b-512 --devices=v5e-4

A part is the image encoder, the reading of text and source, a scale with the drawing of its bits,
or the image decoder. `--parts=all` compiles a whole edit with guidance, and adds up. Printed are,
for each, what a chip holds, what it sends, and the compiler's own estimates of its operations at
`--ghz`, by category. Calls of attention kernels and the time of sending count nothing. Nothing is
executed. On a free core a part compiles in 10 s (few tokens) to 2 minutes, and encoder and decoder
in 5 each. `--rows` cuts fused kernels by rows, as training does, and as edits did before: for
comparison.

Compiled with jax 0.10.2 and libtpu 0.0.42, varedit-2b-512 on v5e-1 takes 352 ms and at most 6.9 GB:
`docs/numbers.md` has a table.

For varedit-8b-512 on v5e-4, begin, scales and decode take 404 ms; a chip holds at most 5.9 GB and
sends 9.2 GB: 2.66 GB for begin, 2.64 GB in 120 all-reduces for the last scale. Before kernels of
several maps were kept whole there, begin took 93.0 and the last scale 110.1 ms. With `--rows` the
last scale sends 0.58 GB more, in 40 all-to-alls.
"""

import argparse
import functools
import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import tpu_cycles

from jaxedit import tree
from jaxedit.checkpoints.networks import abstract_params
from jaxedit.config import OFFICIAL, MeshConfig
from jaxedit.editor.memory_phases import in_memory
from jaxedit.editor.pipeline_varedit import maps_of
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import pyramid
from jaxedit.ops.interleaved import Interleaved
from jaxedit.planning import flops, topology
from jaxedit.planning.collectives import traffic, traffic_table
from jaxedit.planning.device_memory import peak_flops
from jaxedit.sampling import next_scale
from jaxedit.sampling.methods import BitSampling, numbers_of
from jaxedit.sampling.sample_varedit import encoder_precision, uniforms_of
from jaxedit.sharding import rules
from jaxedit.sharding.columns import columns_of
from jaxedit.sharding.mesh import make_mesh

Shape = jax.ShapeDtypeStruct


class Part(NamedTuple):
    """The compiler's estimates of a part.

    Attributes:
      ms: the time of its operations.
      nbytes: memory of a chip besides the weights: inputs, temporary arrays and results.
      sent: bytes that a chip sends.
    """

    ms: float
    nbytes: float
    sent: float


def main() -> None:
    """Compile, and print what each part holds, sends and takes, and what all of them take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="varedit-8b-512")
    parser.add_argument("--devices", default="v5e-4")
    parser.add_argument(
        "--parts", default="begin,last", help="encode, begin, numbers of scales, last, decode; all"
    )
    parser.add_argument("--rows", action="store_true", help="cut fused kernels by rows")
    parser.add_argument("--ghz", type=float, default=1.5, help="clock that turns cycles into time")
    parser.add_argument("--hlo", type=pathlib.Path, help="folder for the compiled programs")
    args = parser.parse_args()
    config, devices = OFFICIAL[args.model].config, topology.devices_of(topology.pod(args.devices))
    every = parts_of(config)
    parts = every if args.parts == "all" else args.parts.replace("last", every[-2]).split(",")
    if unknown := [part for part in parts if part not in every]:
        parser.error(f"--parts={unknown[0]}: expected all, last, or some of {','.join(every)}")

    mesh = make_mesh(MeshConfig(data=1, tensor=len(devices)), devices)
    weights = weights_of(config, mesh, by_rows=args.rows)
    nbytes = held(weights, mesh) + held(tokenizer_of(config, mesh), mesh)
    print(f"{args.model} on {args.devices}: {nbytes / 1e9:.2f} GB of weights a chip")
    found = {part: compile_part(part, config, weights, mesh, args) for part in parts}
    nbytes += max(part.nbytes for part in found.values())
    sent = sum(part.sent for part in found.values())
    print(
        f"{', '.join(parts)}: {sum(part.ms for part in found.values()):.1f} ms estimated, at most "
        f"{nbytes / 1e9:.2f} GB a chip, which sends {sent / 1e9:.2f} GB; not compiled: "
        f"{', '.join(part for part in every if part not in parts) or 'no part of an edit'}"
    )
    ms = 1e3 * kernel_seconds(config, devices)
    print(
        "not counted: the text encoder, a program of its own; what is sent; calls of attention "
        f"kernels: {ms:.1f} ms in an edit, if they take twice their products' time at the peak"
    )


def compile_part(part: str, config, weights, mesh, args: argparse.Namespace) -> Part:
    """Compile a part, print what it holds, sends and takes, and return the sums."""
    start = time.perf_counter()
    of_pixels = part in ("encode", "decode")
    lowered = lower_bsq(part, config, mesh) if of_pixels else lower(part, config, weights, mesh)
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    text, memory = compiled.as_text(), compiled.memory_analysis()
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    inputs = 0 if of_pixels else memory.argument_size_in_bytes - held(weights, mesh)
    print(
        f"{part}: compiled in {seconds:.0f} s; {memory.argument_size_in_bytes / 1e9:.2f} GB of "
        f"arguments, {memory.temp_size_in_bytes / 1e9:.2f} GB temporary, "
        f"{results / 1e9:.2f} GB of new results"
    )
    found = tpu_cycles.cycles(text)
    print("  " + tpu_cycles.table(found, args.ghz))
    if args.hlo:
        args.hlo.mkdir(parents=True, exist_ok=True)
        (args.hlo / f"{part}.txt").write_text(text)
    rows = traffic(text, mesh)
    print(traffic_table(rows).replace("a step", "in it"), flush=True)
    sent = sum(row.nbytes for row in rows)
    return Part(found.total() / args.ghz / 1e6, inputs + memory.temp_size_in_bytes + results, sent)


def parts_of(config) -> list[str]:
    """The parts of an edit in their order."""
    return ["encode", "begin", *map(str, range(len(config.varedit.scales))), "decode"]


def kernel_seconds(config, devices) -> float:
    """The seconds that are assumed for the attention of an edit, to text and image."""
    c = config.varedit
    scores = len(next_scale.PATHS) * flops.varedit(c, c.max_text_tokens).scores
    return tpu_cycles.KERNEL_SLOWNESS * scores / len(devices) / peak_flops(devices[0].device_kind)


def weights_of(config, mesh, *, by_rows: bool):
    """The transformer's parameters as an edit holds them."""
    shapes = in_memory({"transformer": abstract_params(config)["transformer"]}, config, "bfloat16")
    placed = rules.with_shardings(shapes, rules.state_shardings(shapes, mesh))

    def columns(path, leaf):
        if by_rows or mesh.shape["tensor"] == 1 or not maps_of(path):
            return leaf
        return Interleaved(leaf.update(sharding=columns_of(mesh, leaf.ndim)), mesh.shape["tensor"])

    return tree.map_with_path(columns, placed)["transformer"]


def tokenizer_of(config, mesh):
    """The image tokenizer's parameters, whole on every chip."""
    shapes = in_memory({"bsq": abstract_params(config)["bsq"]}, config, "bfloat16")["bsq"]
    return jax.tree.map(lambda x: x.update(sharding=rules.replicated(mesh)), shapes)


def held(weights, mesh) -> float:
    """Bytes of arrays on each chip."""
    leaves = jax.tree.leaves(weights)
    return sum(
        x.dtype.itemsize * functools.reduce(lambda a, b: a * b, x.sharding.shard_shape(x.shape), 1)
        for x in leaves
    )


def lower(part: str, config, weights, mesh):
    """A part, lowered for the mesh; one picture, with the rows of guidance."""
    c, paths = config.varedit, next_scale.PATHS
    source = pyramid.tokens(c.source_scales(c.scales))
    inputs = (
        Shape((1, 1, c.max_text_tokens, c.text_width), jnp.float32),
        Shape((1, 1, c.max_text_tokens), jnp.bool_),
        Shape((1, source, c.token_bits), jnp.float32),
    )

    def network(params) -> next_scale.Network:
        return next_scale.Network(VAREdit(c, jnp.bfloat16), params, c.scales, c.rope_scales)

    def begin(params, *inputs):
        options = {"paths": paths, "dropped": next_scale.DROPPED}
        return next_scale.begin(network(params), *inputs, **options)

    def sample(params, state, seeds, numbers):
        method = BitSampling(uniforms_of(seeds, c), numbers)
        return next_scale.sample_scale(network(params), state, method, int(part), paths=paths)

    def whole(tree):
        shapes = jax.tree.map(lambda x: Shape(x.shape, x.dtype), tree)
        return jax.tree.map(lambda x: x.update(sharding=rules.replicated(mesh)), shapes)

    with jax.set_mesh(mesh):
        if part == "begin":
            return jax.jit(begin).lower(weights, *whole(inputs))
        state = jax.eval_shape(begin, weights, *inputs)
        state = jax.tree.map(lambda x: x.update(sharding=of_state(x, c.heads, mesh)), state)
        numbers = whole((Shape((1,), jnp.int32), numbers_of(config.sample, len(c.scales))))
        return jax.jit(sample, donate_argnums=1).lower(weights, state, *numbers)


def lower_bsq(part: str, config, mesh):
    """The image encoder or decoder, lowered for one picture."""
    (h, w), stride = config.varedit.latent_scales[-1], config.bsq.stride
    shape = (1, h * stride, w * stride, 3) if part == "encode" else (1, h, w, config.bsq.bits)
    x = Shape(shape, jnp.float32, sharding=rules.replicated(mesh))
    bsq = BSQTokenizer(config.bsq, precision=encoder_precision(config.varedit, is_masked=False))
    run = functools.partial(bsq.apply, method=part)
    with jax.set_mesh(mesh):
        return jax.jit(run).lower({"params": tokenizer_of(config, mesh)}, x)


def of_state(x: Shape, heads: int, mesh):
    """The sharding of an array of the state: keys and values [...,A,S,E] are cut by heads."""
    is_by_head = x.ndim >= 4 and x.shape[-3] == heads
    spec = (*(None,) * (x.ndim - 3), "tensor") if is_by_head else ()
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


if __name__ == "__main__":
    main()
