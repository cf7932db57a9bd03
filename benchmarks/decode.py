"""Time and memory of next-token decoding: LlamaGen, EditAR and ERec, without text encoder and VQ.

    python benchmarks/decode.py --shapes=shapes.json --threads=1 --entries=llamagen,editar,erec
    python benchmarks/decode.py --model=xl --tokens=4          # EditAR's own size
    python benchmarks/decode.py --model=xl --entries=llamagen,erec --json=decode.json

`--shapes` is a JSON file whose entries hold layers, dim, heads, vocab, caption_dim, prefix_tokens
(LlamaGen) or image_tokens and text_tokens, new_tokens, cfg_scale, top_k, temperature and dtype.
Weights and inputs are random. With `--threads=1` all times are CPU seconds, which a busy machine
changes little; otherwise they are wall time. The floor is the time to read the weights, and the
keys and values of an average step, once from memory, at the bandwidth that is measured first.

Measured with 8 layers x 512, 16384 codes, guidance, 256 tokens, float32, AMD EPYC, one thread:

    llamagen  2 rows, 256 text tokens             8.4 ms a step, 111 tokens/s, 49 % of the floor
    editar    2 rows, 256 image, 120 text tokens  9.3 to 9.7 ms,  96 to 101 tokens/s, 45 to 49 %
    erec      4 rows, the same, with JS and NLL  10.7 to 11.4 ms, 81 to 87 tokens/s, 40 to 45 %

Tokens per second include the prefill (0.16 to 0.23 s). Four programs compile in 14 to 22 s. One
product per row instead of one for all rows costs 1.2 times as much with 2 rows, 1.8 with 4.
`--model=xl --tokens=4`: 236 ms a step (45 % of the floor), prefill 12.9 s, 25 s to compile, 5.0 GB.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import time

from device import measure_bandwidth, peak_memory, write_json

MLP_MULTIPLE = 256  # LlamaGen rounds the width of the MLP up to this


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=pathlib.Path)
    parser.add_argument("--model", choices=("xl", "tiny"), help="xl: EditAR as released")
    parser.add_argument("--entries", help="some of llamagen,editar,erec; --model: default editar")
    parser.add_argument("--threads", type=int, default=0, help="CPU cores to use; 0 = all")
    parser.add_argument("--dtype", default="", help="of matrices and caches")
    parser.add_argument("--segment", type=int, default=64, help="tokens by which caches grow")
    parser.add_argument("--tokens", type=int, default=0, help="stop after so many; 0 = all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="file for the results")
    parser.add_argument("--layers", type=int, default=0, help="of --model; 0 = all")
    parser.add_argument("--window", type=int, default=1, help="tokens that are run at once")
    parser.add_argument("--likely", type=float, help="how often the token is that which is guessed")
    return parser.parse_args()


def main() -> None:
    """Print times, tokens per second and memory of each entry."""
    args = parse()
    if args.threads:  # before jax makes its thread pool, whose size follows the affinity
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    shapes = json.loads(args.shapes.read_text()) if args.shapes else {}
    clock = time.process_time if args.threads == 1 else time.perf_counter
    bandwidth = measure_bandwidth(clock)
    print(f"memory: {bandwidth / 1e9:.1f} GB/s")
    results = []
    for entry in (args.entries or ("editar" if args.model else "llamagen,editar,erec")).split(","):
        config, sample, dtype = settings(entry, shapes.get(entry), args.model)
        config.layers = args.layers or config.layers
        results.append(report(entry, config, sample, args, args.dtype or dtype, bandwidth, clock))
    write_json(args.json, results)


def settings(entry: str, shape: dict | None, model: str | None):
    """Sizes of the transformer, sampling and dtype of one entry."""
    from jaxedit.config import EDITAR_PRESETS, EditARConfig, TokenSampleConfig

    if model:
        preset = EDITAR_PRESETS[model]
        if entry == "llamagen":
            text = dataclasses.replace(preset.editar, prefix="text", distill_width=0)
            return text, preset.token_sample, "float32"
        return preset.editar, preset.token_sample, "float32"
    is_edit = "image_tokens" in shape
    width = shape["dim"]
    config = EditARConfig(
        layers=shape["layers"],
        width=width,
        heads=shape["heads"],
        mlp_hidden=-(-(8 * width // 3) // MLP_MULTIPLE) * MLP_MULTIPLE,
        codes=shape["vocab"],
        grid=round(shape["new_tokens"] ** 0.5),
        prefix="edit" if is_edit else "text",
        text_tokens=shape["text_tokens" if is_edit else "prefix_tokens"],
        text_width=shape["caption_dim"],
        distill_width=0,
    )
    config.validate()
    sample = TokenSampleConfig(
        guidance=shape["cfg_scale"], top_k=shape["top_k"], temperature=shape["temperature"]
    )
    return config, sample, shape["dtype"]


def report(entry: str, config, sample, args, dtype: str, bandwidth: float, clock) -> dict:
    """Compile by a first run; print and return the best of `repeats` more."""
    import jax

    N = args.tokens or config.image_tokens
    begin, advance, R = build(entry, config, sample, dtype, args, N)
    runs = []
    for _ in range(args.repeats + 1):
        times = [clock()]
        state = jax.block_until_ready(begin())
        times.append(clock())
        tokens, turns = jax.block_until_ready(advance(state))
        times.append(clock())
        assert tokens.shape[-1] == N
        runs.append((times[1] - times[0], times[2] - times[1]))
    prefill, loop = (min(r) for r in zip(*runs[1:], strict=True))
    nbytes = step_bytes(config, R, N, dtype)
    found = {
        "entry": entry,
        "dtype": dtype,
        "rows": R,
        "tokens": N,
        "compile_s": sum(runs[0]) - prefill - loop,
        "prefill_s": prefill,
        "ms_per_token": 1e3 * loop / N,
        "tokens_per_turn": N / int(turns),
        "tokens_per_s": N / (prefill + loop),
        "floor_gb": nbytes / 1e9,
        "floor_ms": 1e3 * nbytes / bandwidth,
        "peak_mb": peak_memory(),
    }
    print(
        "{entry} {dtype}: compile {compile_s:.1f} s, prefill {prefill_s:.3f} s, "
        "{ms_per_token:.2f} ms a token, {tokens_per_turn:.2f} tokens a turn, "
        "{tokens_per_s:.1f} tokens/s, {share:.0f} % of the memory floor ({floor_ms:.2f} ms), "
        "{peak_mb:.0f} MB at the peak".format(
            share=100 * found["floor_ms"] / found["ms_per_token"], **found
        ),
        flush=True,
    )
    return found


def build(entry: str, config, sample, dtype: str, args, N: int):
    """Functions that prefill and that decode N tokens, and the number of rows."""
    import jax
    import jax.numpy as jnp

    from jaxedit import rng
    from jaxedit.config import ERecConfig
    from jaxedit.erec.dual_path import DualPathSampling, layout
    from jaxedit.sampling import next_token, sample_editar, token_loop
    from jaxedit.sampling.methods import TokenSampling, numbers_of

    weights = random_weights(config, dtype)
    key = rng.key_for(0, "source")
    source = jax.random.randint(key, (1, config.image_tokens), 0, config.codes)
    seeds, numbers = jnp.zeros(1, jnp.int32), numbers_of(sample)
    R, method = 2, TokenSampling(seeds, numbers)
    if entry == "erec":
        rows = layout("own", 2)
        R, erec = 4, ERecConfig()
        method = DualPathSampling(seeds, source, numbers, erec.tau_replace, rows=rows, config=erec)
    if args.likely is not None:
        method = likely(method, args.likely)
    slots = token_loop.slots_for(args.segment, args.window)
    text = jax.random.normal(rng.key_for(0, "text"), (1, R, config.text_tokens, config.text_width))

    @jax.jit
    def prefill(weights, source, text):
        prefix = next_token.Prefix()
        if config.prefix == "edit":
            prefix = next_token.prefill_image(weights, config, source)
        started = next_token.start(weights, config, prefix, text, slots=slots)
        return prefix, token_loop.State(*started, jnp.int32(0))

    def begin():
        return prefill(weights, source, text)

    def advance(state):
        options = {"segment": args.segment, "window": args.window, "tokens": N}
        tokens, _, turns = sample_editar.generate(weights, *state, method, config=config, **options)
        return tokens, turns

    return begin, advance, R


def likely(method, share: float):
    """A method that takes the code 0, which is guessed, with a probability; else as `method` does.

    As a trained model would, it changes its mind when an earlier token changes.
    """
    import dataclasses

    import jax
    import jax.numpy as jnp

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Likely:
        method: object

        def __call__(self, logits, position):
            tokens, record = self.method(logits, position)
            digest = jnp.round(1e3 * logits[:, 0, :8].sum(-1)).astype(jnp.int32)
            keys = jax.vmap(lambda x: jax.random.fold_in(jax.random.key(0), x))(digest)
            is_likely = jax.vmap(jax.random.uniform)(keys) < share
            return jnp.where(is_likely[:, None], 0, tokens), record

    return Likely(method)


def random_weights(config, dtype: str):
    """Weights for decoding, small random numbers."""
    import jax
    import numpy as np

    from jaxedit import rng
    from jaxedit.models.editar import init_null, init_params
    from jaxedit.sampling.decode_weights import unstack

    def make():
        key = rng.key_for(0, "init")
        return unstack(config, init_params(config, key), init_null(config, key), dtype)

    generator = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jax.device_put(
            (generator.random(x.shape, np.float32) - 0.5).astype(x.dtype) / 15
        ),
        jax.eval_shape(make),
    )


def step_bytes(config, rows: int, tokens: int, dtype: str) -> float:
    """Bytes that a step of average position must read."""
    import jax.numpy as jnp

    D, F, E, G = config.width, config.mlp_hidden, config.head_width, config.groups
    layer = D * (D + 2 * G * E) + D * D + 3 * D * F
    image = config.image_tokens if config.prefix == "edit" else 0
    cached = 2 * G * E * (image + rows * (1 + tokens / 2))
    return jnp.dtype(dtype).itemsize * (config.layers * (layer + cached) + D * config.codes)


if __name__ == "__main__":
    main()
