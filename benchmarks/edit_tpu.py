"""Compile the parts of an edit by VAREdit for TPU chips that share the weights, without a TPU.

    pip install "jax[tpu]" && python benchmarks/edit_tpu.py --model=varedit-8b-512 --devices=v5e-4

A part is the image encoder, the reading of text and source, a scale, or the image decoder. Printed
are, for each, what a chip holds, what it sends, and the compiler's own estimates of its operations
at `--ghz`, by category, in which calls of the attention kernels count nothing. Nothing is executed;
a part compiles in a minute or two. `--rows` cuts fused kernels by rows, as training does, and as
edits did before: for comparison.

Compiled with jax 0.10.2 and libtpu 0.0.42 for varedit-2b-512 on v5e-1: scales 4, 8 and 9 take 11.3,
43.7 and 59.4 ms, without the kernels. `docs/numbers.md` says what they took before.

For varedit-8b-512 on v5e-4, when scales still copied their caches, with 4.58 GB of weights a chip:
begin has 4.49 GB of arguments, 0.16 GB temporary and 0.91 GB of results, and sends 2.66 GB; the
last scale has 4.59, 0.13 and 0.88 GB, sends 2.64 GB in 120 all-reduces, and takes an estimated 147
ms. With `--rows` the last scale sends 0.58 GB more, in 40 all-to-alls, and takes 158 ms.
"""

import argparse
import functools
import pathlib
import time

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
from jaxedit.planning import topology
from jaxedit.planning.collectives import traffic, traffic_table
from jaxedit.sampling.sample_varedit import encoder_precision
from jaxedit.sharding import rules
from jaxedit.sharding.columns import columns_of
from jaxedit.sharding.mesh import make_mesh

Shape = jax.ShapeDtypeStruct


def main() -> None:
    """Compile, and print what each part holds, sends and takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="varedit-8b-512")
    parser.add_argument("--devices", default="v5e-4")
    parser.add_argument(
        "--parts", default="begin,last", help="encode, begin, numbers of scales, last, decode"
    )
    parser.add_argument("--rows", action="store_true", help="cut fused kernels by rows")
    parser.add_argument("--ghz", type=float, default=1.5, help="clock that turns cycles into time")
    parser.add_argument("--hlo", type=pathlib.Path, help="folder for the compiled programs")
    args = parser.parse_args()
    config, devices = OFFICIAL[args.model].config, topology.devices_of(topology.pod(args.devices))
    mesh = make_mesh(MeshConfig(data=1, tensor=len(devices)), devices)
    weights = weights_of(config, mesh, by_rows=args.rows)
    print(f"{args.model} on {args.devices}: {held(weights, mesh) / 1e9:.2f} GB of weights a chip")
    for part in args.parts.split(","):
        start = time.perf_counter()
        of_pixels = part in ("encode", "decode")
        lowered = lower_bsq(part, config, mesh) if of_pixels else lower(part, config, weights, mesh)
        compiled = lowered.compile()
        seconds = time.perf_counter() - start
        text, memory = compiled.as_text(), compiled.memory_analysis()
        print(
            f"{part}: compiled in {seconds:.0f} s; {memory.argument_size_in_bytes / 1e9:.2f} GB of "
            f"arguments, {memory.temp_size_in_bytes / 1e9:.2f} GB temporary, "
            f"{memory.output_size_in_bytes / 1e9:.2f} GB of results"
        )
        print("  " + tpu_cycles.table(tpu_cycles.cycles(text), args.ghz))
        if args.hlo:
            args.hlo.mkdir(parents=True, exist_ok=True)
            (args.hlo / f"{part}.txt").write_text(text)
        print(traffic_table(traffic(text, mesh)).replace("a step", "in it"), flush=True)


def weights_of(config, mesh, *, by_rows: bool):
    """The transformer's parameters as an edit holds them."""
    shapes = in_memory({"transformer": abstract_params(config)["transformer"]}, config, "bfloat16")
    placed = rules.with_shardings(shapes, rules.state_shardings(shapes, mesh))

    def columns(path, leaf):
        if by_rows or mesh.shape["tensor"] == 1 or not maps_of(path):
            return leaf
        return Interleaved(leaf.update(sharding=columns_of(mesh, leaf.ndim)), mesh.shape["tensor"])

    return tree.map_with_path(columns, placed)["transformer"]


def held(weights, mesh) -> float:
    """Bytes of arrays on each chip."""
    leaves = jax.tree.leaves(weights)
    return sum(
        x.dtype.itemsize * functools.reduce(lambda a, b: a * b, x.sharding.shard_shape(x.shape), 1)
        for x in leaves
    )


def lower(part: str, config, weights, mesh):
    """A part, lowered for the mesh; one picture, which has two rows."""
    c, rows = config.varedit, 2
    model = VAREdit(c, jnp.bfloat16)
    source = pyramid.tokens(c.source_scales(c.scales))
    inputs = (
        Shape((rows, c.max_text_tokens, c.text_width), jnp.float32),
        Shape((rows, c.max_text_tokens), jnp.bool_),
        Shape((rows,), jnp.bool_),
        Shape((rows, source, c.token_bits), jnp.float32),
    )
    schedule = {"scales": c.scales, "rope_scales": c.rope_scales}
    begin = functools.partial(model.apply, method="begin", **schedule)
    with jax.set_mesh(mesh):
        if part == "begin":
            whole = jax.tree.map(lambda x: x.update(sharding=rules.replicated(mesh)), inputs)
            return jax.jit(lambda p, *xs: begin({"params": p}, *xs)).lower(weights, *whole)
        k = len(c.scales) - 1 if part == "last" else int(part)
        state = jax.eval_shape(lambda p, *xs: begin({"params": p}, *xs), weights, *inputs)
        state = jax.tree.map(lambda x: x.update(sharding=of_state(x, c.heads, mesh)), state)
        tokens = Shape((rows, pyramid.tokens(c.scales[k : k + 1]), c.token_bits), jnp.float32)
        tokens = tokens.update(sharding=rules.replicated(mesh)) if k else None

        def extend(params, state, tokens):
            options = {"method": "extend", "scales": c.scales}
            return model.apply({"params": params}, state, tokens, k, **options)

        return jax.jit(extend, donate_argnums=1).lower(weights, state, tokens)


def lower_bsq(part: str, config, mesh):
    """The image encoder or decoder, lowered for one picture."""
    shapes = in_memory({"bsq": abstract_params(config)["bsq"]}, config, "bfloat16")
    (h, w), stride = config.varedit.latent_scales[-1], config.bsq.stride
    shape = (1, h * stride, w * stride, 3) if part == "encode" else (1, h, w, config.bsq.bits)
    x = Shape(shape, jnp.float32)
    bsq = BSQTokenizer(config.bsq, precision=encoder_precision(config.varedit, is_masked=False))
    run = functools.partial(bsq.apply, method=part)
    whole = jax.tree.map(
        lambda x: x.update(sharding=rules.replicated(mesh)), ({"params": shapes["bsq"]}, x)
    )
    with jax.set_mesh(mesh):
        return jax.jit(run).lower(*whole)


def of_state(x: Shape, heads: int, mesh):
    """The sharding of an array of the state: keys and values [...,A,S,E] are cut by heads."""
    is_by_head = x.ndim >= 4 and x.shape[-3] == heads
    spec = (*(None,) * (x.ndim - 3), "tensor") if is_by_head else ()
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


if __name__ == "__main__":
    main()
