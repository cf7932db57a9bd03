"""Time and memory of next-scale sampling: source and scales, without text encoder and decoder.

    python benchmarks/next_scale.py --shapes=shapes.json --threads=2 --batch=1,2 --dtype=float32

`--shapes` is a JSON file whose entry `varedit` holds depth, embed_dim, heads, mlp_ratio,
text_channels, text_tokens, codebook_dim, patch_size, scales, cfg_scale, temperature, top_p, dtype.
Weights and inputs are random. On a busy machine compare the CPU seconds with `--threads=1`.

Measured with 8 layers x 512, 256 px (777 tokens x 2 rows), AMD EPYC, one thread, seconds of CPU:
float32 0.70 (81 % of it in matrix products at 200 GFLOP/s), bfloat16 0.85; 15 s to compile.
"""

import argparse
import json
import os
import pathlib
import time


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=0, help="CPU cores to use; 0 = all")
    parser.add_argument("--batch", default="", help="comma-separated batch sizes")
    parser.add_argument("--dtype", default="", help="compute and parameter type")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Print times, images per second and memory for each batch size."""
    args = parse()
    if args.threads:  # before jax makes its thread pool, whose size follows the affinity
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    shapes = json.loads(args.shapes.read_text())["varedit"]
    batches = [int(b) for b in args.batch.split(",") if b] or [shapes["batch"]]
    for batch in batches:
        report(shapes, batch, args.dtype or shapes["dtype"], args.repeats)


def report(shapes: dict, batch: int, dtype: str, repeats: int) -> None:
    """Compile for one batch size and print the best of `repeats` runs."""
    import jax

    step, arguments = build(shapes, batch, dtype)
    start = time.perf_counter()
    compiled = jax.jit(step).lower(*arguments).compile()
    compile_s = time.perf_counter() - start
    runs = []
    for _ in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*arguments))
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(runs[1:])
    memory = compiled.memory_analysis()
    peak = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6
    print(
        f"batch {batch} {dtype}: compile {compile_s:.1f} s, run {wall:.3f} s "
        f"(cpu {cpu:.3f} s), {batch / wall:.2f} images/s, {peak:.0f} MB at the peak"
    )


def build(shapes: dict, batch: int, dtype: str):
    """The sampling function and its arguments."""
    import jax
    import jax.numpy as jnp

    from jaxedit import rng, tree
    from jaxedit.config import SQUARE_SCALES, VAREditConfig
    from jaxedit.models.varedit import VAREdit, init_params
    from jaxedit.sampling import next_scale
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

    def step(params, text, text_mask, source, keys, numbers):
        return next_scale.generate(
            model,
            params,
            text,
            text_mask,
            source,
            BitSampling(draw_uniforms(keys, scales, config.token_bits), numbers),
            scales=scales,
            rope_scales=config.rope_scales,
        )

    return step, (params, text, jnp.ones((batch, T), bool), source, keys, numbers)


if __name__ == "__main__":
    main()
