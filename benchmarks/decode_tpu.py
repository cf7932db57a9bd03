"""Compile a decoding segment for a TPU, without one, and print what the compiler makes of it.

    pip install "jax[tpu]" && python benchmarks/decode_tpu.py --topology=v5e:2x2 --rows=2

The model is EditAR as released, in bfloat16. Printed are the sum of the compiler's own estimates of
the operations of one step, at `--ghz`, and the time to read all arguments once from memory, below
which a step cannot get. Nothing is executed.

Measured with jax 0.10.2, 2 rows and full caches on v5e: 2.06 ms estimated, 2.58 ms to read all
arguments (with queries whose channels are moved about for rotation and attention: 4.12 ms).
"""

import argparse
import os
import re
import time

BANDWIDTH = {"v4": 1200, "v5e": 819, "v5p": 2765, "v6e": 1638}  # published, GB/s
WHERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def main() -> None:
    """Compile, and print estimates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--rows", type=int, default=2, help="of the picture; ERec has 4")
    parser.add_argument("--window", type=int, default=1, help="tokens that are run at once")
    parser.add_argument("--slots", type=int, default=1025, help="of each row's cache")
    parser.add_argument("--backend", default="tpu", help="whose layout of caches: cpu or tpu")
    parser.add_argument("--int8", action="store_true", help="matrices of 8-bit integers")
    parser.add_argument("--ghz", type=float, default=1.5, help="clock that turns cycles into time")
    args = parser.parse_args()
    os.environ.update(WHERE)
    import jax
    from jax.experimental import topologies

    chip = topologies.get_topology_desc(platform="tpu", topology_name=args.topology).devices[0]
    start = time.perf_counter()
    compiled = lower(jax.sharding.SingleDeviceSharding(chip), args).compile()
    seconds = time.perf_counter() - start
    text, memory = compiled.as_text(), compiled.memory_analysis()
    bandwidth = BANDWIDTH[args.topology.split(":")[0]]
    print(
        f"{args.topology}, {args.rows} rows, {args.slots} slots: compiled in {seconds:.0f} s, "
        f"{cycles_per_step(text) / args.ghz / 1e6:.2f} ms a step by the compiler's estimate, "
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
    from jaxedit.sampling import next_token, token_loop
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
        started = next_token.start(weights, config, prefix, text, slots=args.slots)
        state = token_loop.State(*started, jnp.int32(0))
        numbers = jax.tree.map(jnp.asarray, numbers_of(TokenSampleConfig()))
        return weights, prefix, state, TokenSampling(jnp.zeros(1, jnp.int32), numbers)

    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(arguments),
    )

    def segment(weights, prefix, state, method):
        return token_loop.decode(
            weights, config, prefix, state, method, steps=64, window=args.window
        )

    return jax.jit(segment, donate_argnums=2).lower(*shapes)


def cycles_per_step(text: str) -> int:
    """Estimated cycles in the body of the longest loop of compiled HLO, inner loops included."""
    computations: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if header := re.match(r"(?:ENTRY )?(%[\w.\-]+) \(.*\{\s*$", line):
            lines = computations.setdefault(header[1], [])
        else:
            lines.append(line)

    def cycles(name: str) -> int:
        total = 0
        for line in computations[name]:
            if body := re.search(r" while\(.*body=(%[\w.\-]+)", line):
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                total += cycles(body[1]) * (int(trips[1]) if trips else 1)
            elif branches := re.search(r" conditional\(.*", line):  # the window, or a token alone
                names = re.findall(r"%[\w.\-]+", branches[0].split("computation", 1)[1])
                total += max(cycles(name) for name in names if name in computations)
            elif estimate := re.search(r'"estimated_cycles":"(\d+)"', line):
                total += int(estimate[1])
        return total

    loops = re.findall(r" while\(.*?body=(%[\w.\-]+)", text)
    return max(cycles(body) for body in loops)


if __name__ == "__main__":
    main()
