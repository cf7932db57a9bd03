"""Compile VAREdit's edit for a TPU, without one, by the share of tokens that a mask lets run.

    pip install "jax[tpu]" && python benchmarks/next_scale_tpu.py --model=2b --pixels=512

The model is VAREdit's geometry in bfloat16, on one chip, one picture with its unguided row, from
pixels to pixels. Printed are the sum of the compiler's own estimates of all operations, at `--ghz`,
and what the program needs in memory. Nothing is executed.
"""

import argparse
import copy
import time

from tpu_estimate import CLOCK, cycles_of_program, one_chip

SCALES = {256: 7, 512: 10, 1024: 13}  # of SQUARE_SCALES


def main() -> None:
    """Compile each program, and print a table's rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--model", default="2b", choices=("2b", "8b"))
    parser.add_argument("--pixels", type=int, default=512, choices=SCALES)
    parser.add_argument("--shares", default="1,0.75,0.5,0.25", help="of the fine scales' tokens")
    parser.add_argument("--text_tokens", type=int, default=512)
    parser.add_argument("--ghz", type=float, default=CLOCK, help="clock that turns cycles to ms")
    args = parser.parse_args()
    sharding = one_chip(args.topology)
    print("| model | pixels | chip | share run | estimated ms | of all | GB of weights, in work |")
    print("|---|---|---|---|---|---|---|")
    whole = None
    for share in map(float, args.shares.split(",")):
        start = time.perf_counter()
        compiled = lower(sharding, args, share).compile()
        memory = compiled.memory_analysis()
        ms = cycles_of_program(compiled.as_text()) / args.ghz / 1e6
        whole = whole or ms
        weights, work = memory.argument_size_in_bytes / 1e9, memory.temp_size_in_bytes / 1e9
        print(
            f"| {args.model} | {args.pixels} | {args.topology.split(':')[0]} | {share:.0%} "
            f"| {ms:.0f} | {ms / whole:.0%} | {weights:.1f}, {work:.1f} |",
            f"<!-- compiled in {time.perf_counter() - start:.0f} s -->",
            flush=True,
        )


def lower(sharding, args: argparse.Namespace, share: float):
    """An edit of one picture, lowered for one chip; a mask covers `share` of it."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxedit import rng
    from jaxedit.config import PRESETS, SQUARE_SCALES
    from jaxedit.models.bsq import BSQTokenizer
    from jaxedit.models.varedit import init_params
    from jaxedit.sampling.lock import runs_of
    from jaxedit.sampling.methods import numbers_of
    from jaxedit.sampling.sample_varedit import Rows, edit_pixels

    config = copy.deepcopy(PRESETS[args.model])
    c = config.varedit
    c.scales = SQUARE_SCALES[: SCALES[args.pixels]]
    c.validate()
    (h, w), coarser = c.scales[-1], c.scales[-2][0]
    mask = np.zeros((1, h, w), bool)
    mask[:, : int(h * share - 0.5 * h / coarser)] = True  # coarser cells fit, too
    runs = runs_of(mask, c.scales) if share < 1 else ()

    def arguments():
        key = rng.key_for(0, "init")
        pixels = jnp.zeros((1, args.pixels, args.pixels, 3), jnp.uint8)
        bsq = BSQTokenizer(config.bsq).init(key, pixels.astype(jnp.float32))["params"]
        text = jnp.zeros((1, args.text_tokens, c.text_width), jnp.bfloat16)
        is_token = jnp.ones((1, args.text_tokens), bool)
        edit_mask = jnp.ones(pixels.shape[:3], bool)
        rows = Rows(pixels, text, is_token, jnp.zeros(1, jnp.int32), edit_mask)
        transformer = jax.tree.map(lambda x: x.astype(jnp.bfloat16), init_params(c, key))
        numbers = jax.tree.map(jnp.asarray, numbers_of(config.sample, len(c.scales)))
        return {"bsq": bsq, "transformer": transformer}, rows, numbers

    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(arguments),
    )
    return edit_pixels.lower(*shapes, config=config, greedy=False, dtype="bfloat16", runs=runs)


if __name__ == "__main__":
    main()
