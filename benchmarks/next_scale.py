"""Time and memory of next-scale sampling: source and scales, without text encoder and decoder.

    python benchmarks/next_scale.py --shapes=shapes.json --threads=2 --batch=1,2 --dtype=float32
    python benchmarks/next_scale.py --model=2b --dtype=bfloat16 --json=edit.json

`--shapes` is a JSON file whose entry `varedit` holds depth, embed_dim, heads, mlp_ratio,
text_channels, text_tokens, codebook_dim, patch_size, scales, cfg_scale, temperature, top_p, dtype.
Weights and inputs are random. `--model=2b` is VAREdit as released at 512 px, from pixels to pixels,
so with the image tokenizer. With `--shares=1,0.5,0.25` edits are limited to a mask, so that the
fine scales run only these shares of their tokens. `--guided=6` runs the unguided rows of the first
six scales alone. On a busy machine compare the CPU seconds with `--threads=1`.

Measured with 8 layers x 512, 256 px (777 tokens x 2 rows), AMD EPYC, one thread, seconds of CPU:
float32 0.70 (81 % of it in matrix products at 200 GFLOP/s), bfloat16 0.85; 15 s to compile.
"""

import argparse
import json
import os
import pathlib
import time

from device import peak_memory, write_json
from random_values import normal

TEXT_TOKENS = 128  # of an instruction of usual length, padded


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--shapes", type=pathlib.Path)
    given.add_argument("--model", choices=("2b", "tiny"), help="2b: VAREdit as released")
    parser.add_argument("--threads", type=int, default=0, help="CPU cores to use; 0 = all")
    parser.add_argument("--batch", default="", help="comma-separated batch sizes")
    parser.add_argument("--dtype", default="", help="compute and parameter type")
    parser.add_argument("--shares", default="", help="comma-separated shares of 0.25, 0.5, 0.75, 1")
    parser.add_argument("--guided", type=int, help="number of guided scales; default all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="file for the results")
    args = parser.parse_args()
    if args.model and (args.shares or args.guided):
        parser.error("--shares and --guided: expected only with --shapes")
    return args


def main() -> None:
    """Print times, images per second and memory for each batch size."""
    args = parse()
    if args.threads:  # before jax makes its thread pool, whose size follows the affinity
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    if args.shapes:
        shapes = json.loads(args.shapes.read_text())["varedit"]
    else:
        shapes = {"batch": 1, "dtype": "float32"}
    batches = [int(b) for b in args.batch.split(",") if b] or [shapes["batch"]]
    results = [
        report(shapes, batch, args, share)
        for batch in batches
        for share in [float(s) for s in args.shares.split(",") if s] or [None]
    ]
    write_json(args.json, results)


def report(shapes: dict, batch: int, args: argparse.Namespace, share: float | None) -> dict:
    """Compile for one batch size; print and return the best of `args.repeats` runs."""
    import jax

    dtype, flops = args.dtype or shapes["dtype"], None
    if args.model:
        step, arguments, flops = build_edit(args.model, batch, dtype)
    else:
        step, arguments = build(shapes, batch, dtype, share=share, guided=args.guided)
    start = time.perf_counter()
    compiled = jax.jit(step).lower(*arguments).compile()
    compile_s = time.perf_counter() - start
    runs = []
    for _ in range(args.repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*arguments))
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(runs[1:])
    memory = compiled.memory_analysis()
    peak = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6
    part = f" share {share}" if share else ""
    part += f" guided {args.guided}" if args.guided else ""
    print(
        f"batch {batch} {dtype}{part}: compile {compile_s:.1f} s, run {wall:.3f} s "
        f"(cpu {cpu:.3f} s), {batch / wall:.2f} images/s, {peak:.0f} MB at the peak",
        flush=True,
    )
    return {
        "batch": batch,
        "dtype": dtype,
        "share": share,
        "guided": args.guided,
        "compile_s": compile_s,
        "ms_per_edit": 1e3 * wall / batch,
        "tflop_per_edit": flops and flops / 1e12,
        "program_mb": peak,
        "peak_mb": peak_memory(),
    }


def build_edit(name: str, batch: int, dtype: str):
    """An edit from pixels to pixels, its arguments, and its operations for a picture."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxedit import tree
    from jaxedit.checkpoints.networks import abstract_params
    from jaxedit.config import PRESETS
    from jaxedit.config.precision import dtype_of
    from jaxedit.planning import flops
    from jaxedit.sampling.methods import numbers_of
    from jaxedit.sampling.sample_varedit import Rows, edit_pixels

    config = PRESETS[name]
    c, side = config.varedit, config.varedit.latent_scales[-1][0] * config.bsq.stride
    T = min(TEXT_TOKENS, c.text_tokens)
    shapes = abstract_params(config)
    params = tree.map_with_path(
        lambda path, x: jax.device_put(normal(x.shape, dtype_of(path, "varedit", dtype))),
        {network: shapes[network] for network in ("bsq", "transformer")},
    )
    rows = Rows(
        np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8),
        jnp.zeros((batch, T, c.text_width)),
        jnp.ones((batch, T), bool),
        jnp.arange(batch),
        np.ones((batch, side, side), bool),
    )
    numbers = numbers_of(config.sample, len(c.scales))
    step = functools.partial(edit_pixels, config=config, greedy=False, dtype=dtype)
    passes = (
        *[flops.varedit(c, T)] * 2,  # with the instruction, and without
        flops.image_encoder(config.bsq, side),
        flops.image_decoder(config.bsq, side),
    )
    operations = sum(forward.weights + forward.scores for forward in passes)
    return step, (params, *jax.device_put((rows, numbers))), operations


def build(
    shapes: dict, batch: int, dtype: str, *, share: float | None = None, guided: int | None = None
):
    """The sampling function and its arguments; `share` of the rows of the picture is editable."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxedit import rng, tree
    from jaxedit.config import SQUARE_SCALES, VAREditConfig
    from jaxedit.models.varedit import VAREdit, init_params
    from jaxedit.sampling import next_scale
    from jaxedit.sampling.lock import BitLock, cells_in, runs_of
    from jaxedit.sampling.methods import BitSampling, draw_uniforms

    scales = tuple((n, n) for n in shapes["scales"])
    width, K = shapes["embed_dim"], len(scales)
    config = VAREditConfig(
        depth=shapes["depth"],
        width=width,
        heads=shapes["heads"],
        mlp_hidden=shapes["mlp_ratio"] * width,
        bits=shapes["codebook_dim"],
        text_width=shapes["text_channels"],
        text_pool_heads=shapes["heads"],
        scales=scales,
        rope_scales=SQUARE_SCALES,
    )
    config.validate()
    model = VAREdit(config, dtype=jnp.dtype(dtype))
    params = jax.jit(init_params, static_argnums=0)(config, rng.key_for(0, "init"))
    params = tree.cast(params, dtype)
    T, (h, w) = shapes["text_tokens"], scales[-1]
    text = jax.random.normal(rng.key_for(0, "text"), (batch, T, shapes["text_channels"]))
    source = jax.random.normal(rng.key_for(0, "source"), (batch, h * w, shapes["codebook_dim"]))
    keys = jax.vmap(lambda seed: rng.key_for(seed, "bits"))(jnp.arange(batch))
    numbers = {
        "guidance": jnp.full(K, shapes["cfg_scale"], jnp.float32),
        "temperature": jnp.full(K, shapes["temperature"], jnp.float32),
        "top_p": jnp.float32(shapes["top_p"]),
        "min_p": jnp.float32(0),
    }

    mask = np.zeros((batch, h, w), bool)
    mask[:, : int(h * (share or 1) - 0.5 * h / scales[-2][0])] = True  # coarser cells fit, too
    runs = runs_of(mask, scales)

    def step(params, text, text_mask, source, keys, numbers):
        lock = None
        if share:
            grid = source.reshape(batch, h, w, -1)
            lock = BitLock(grid, tuple(cells_in(mask, size) for size in scales))
        return next_scale.generate(
            model,
            params,
            text,
            text_mask,
            source,
            BitSampling(draw_uniforms(keys, scales, config.token_bits), numbers),
            scales=scales,
            rope_scales=config.rope_scales,
            lock=lock,
            runs=runs,
            guided=guided,
        )

    return step, (params, text, jnp.ones((batch, T), bool), source, keys, numbers)


if __name__ == "__main__":
    main()
