"""Compile a decoding segment for a TPU, without one, and print what the compiler makes of it.

    pip install "jax[tpu]" && python benchmarks/decode_tpu.py --topology=v5e:2x2 --rows=2

The model is EditAR as released, in bfloat16. Printed are the sum of the compiler's own estimates of
the operations of one step, at `--ghz`, and the time to read all arguments once from memory, below
which a step cannot get. Nothing is executed.

Measured with jax 0.10.2, 2 rows and full caches on v5e: 2.06 ms estimated, 2.58 ms to read all
arguments (with queries whose channels are moved about for rotation and attention: 4.12 ms).
"""

import argparse
import time

from tpu_estimate import BANDWIDTH, CLOCK, cycles_of_longest_loop, one_chip


def main() -> None:
    """Compile, and print estimates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--rows", type=int, default=2, help="of the picture; ERec has 4")
    parser.add_argument("--slots", type=int, default=1025, help="of each row's cache")
    parser.add_argument("--backend", default="tpu", help="whose layout of caches: cpu or tpu")
    parser.add_argument("--int8", action="store_true", help="matrices of 8-bit integers")
    parser.add_argument("--ghz", type=float, default=CLOCK, help="clock that turns cycles to ms")
    args = parser.parse_args()
    sharding = one_chip(args.topology)
    start = time.perf_counter()
    compiled = lower(sharding, args).compile()
    seconds = time.perf_counter() - start
    memory, cycles = compiled.memory_analysis(), cycles_of_longest_loop(compiled.as_text())
    bandwidth = BANDWIDTH[args.topology.split(":")[0]]
    print(
        f"{args.topology}, {args.rows} rows, {args.slots} slots: compiled in {seconds:.0f} s, "
        f"{cycles / args.ghz / 1e6:.2f} ms a step by the compiler's estimate, "
        f"{memory.argument_size_in_bytes / bandwidth / 1e6:.2f} ms to read all arguments once, "
        f"{memory.temp_size_in_bytes / 1e6:.0f} MB of temporary memory"
    )


def lower(sharding, args: argparse.Namespace):
    """A segment of 64 tokens, lowered for one chip."""
    import jax
    import jax.numpy as jnp

    from jaxedit import rng
    from jaxedit.config import EDITAR_PRESETS, TokenSampleConfig
    from jaxedit.models.editar import init_null, init_params
    from jaxedit.sampling import next_token
    from jaxedit.sampling.decode_weights import unstack
    from jaxedit.sampling.methods import TokenSampling, numbers_of

    config = EDITAR_PRESETS["xl"].editar
    options = {"int8": args.int8, "backend": args.backend}

    def arguments():
        key = rng.key_for(0, "init")
        params, null = init_params(config, key), init_null(config, key)
        weights = unstack(config, params, null, jnp.bfloat16, **options)
        source = jnp.zeros((1, config.image_tokens), jnp.int32)
        prefix = next_token.prefill_image(weights, config, source)
        text = jnp.zeros((1, args.rows, config.text_tokens, config.text_width))
        state = next_token.start(weights, config, prefix, text, slots=args.slots)
        numbers = jax.tree.map(jnp.asarray, numbers_of(TokenSampleConfig()))
        return weights, prefix, state, TokenSampling(jnp.zeros(1, jnp.int32), numbers)

    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(arguments),
    )

    def segment(weights, prefix, state, method):
        return next_token.decode(weights, config, prefix, state, method, steps=64)

    return jax.jit(segment, donate_argnums=2).lower(*shapes)


if __name__ == "__main__":
    main()
