"""Windows of guessed tokens on toy-editar: tokens a turn, time a token, and equality.

    python benchmarks/windows.py --pairs=2 --windows=1,8,16 --temperatures=0.5,1

Pairs are held out, `--pairs` of each type of edit, and edited one by one. Printed are the tokens
that a turn of the loop keeps, on average over a type's edits; the CPU time of a token, text and
drawing included; and how many tokens differ from those of a window of 1. docs/windows.md has the
numbers.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxedit
from jaxedit.config import TokenSampleConfig
from jaxedit.data import toybox
from jaxedit.erec.dual_path import DualPathSampling, layout
from jaxedit.sampling import sample_editar
from jaxedit.sampling.methods import TokenSampling, numbers_of
from jaxedit.sampling.token_loop import slots_for

TYPES = (
    "random", "replace", "add", "remove", "face", "pose", "colour", "texture", "background", "style"
)  # fmt: skip
METHODS = ("editar", "editar+erec")


def windows(text: str) -> list[int]:
    """Return sizes of windows that commas separate; ValueError if one is not 1 to 64."""
    sizes = [int(size) for size in text.split(",")]
    if not all(1 <= size <= 64 for size in sizes):
        raise ValueError(text)
    return sizes


def temperatures(text: str) -> list[float]:
    """Return temperatures that commas separate; ValueError if one is not positive."""
    numbers = [float(number) for number in text.split(",")]
    if not all(0 < number < float("inf") for number in numbers):
        raise ValueError(text)
    return numbers


def main() -> None:
    """Print a row for each method, temperature and window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2, help="of each type of edit")
    parser.add_argument("--windows", type=windows, default="1,8", help="1 to 64, commas between")
    parser.add_argument("--temperatures", type=temperatures, default="0.5,1")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    args = parser.parse_args()
    if args.pairs < 1:
        parser.error(f"--pairs={args.pairs}: expected 1 or more")
    editor = jaxedit.Editor.from_pretrained("toy-editar")
    pairs = [
        toybox.make(1, i, 0, split="test", edit_type=kind)
        for kind in range(len(TYPES))
        for i in range(args.pairs)
    ]
    print("| method | temperature | window | ms a token | all |", " | ".join(TYPES), "| differ |")
    print("|---" * (len(TYPES) + 6) + "|")
    for method in args.methods:
        for temperature in args.temperatures:
            plain = None
            for window in args.windows:
                tokens, turns, ms = measure(editor, pairs, method, temperature, window)
                plain = tokens if plain is None else plain
                N = tokens[0].shape[-1]
                kept = N / turns.reshape(len(TYPES), -1).mean(axis=1)
                cells = [f"{x:.2f}" for x in (ms, N / turns.mean(), *kept)]
                differ = sum(int(np.sum(a != b)) for a, b in zip(tokens, plain, strict=True))
                row = [method, temperature, window, *cells, differ]
                print("|", " | ".join(map(str, row)), "|", flush=True)


def measure(
    editor: jaxedit.Editor, pairs: list[Any], method: str, temperature: float, window: int
) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Tokens i32[R,N] and turns of every edit, and milliseconds of CPU time a token."""
    run = decoder(editor, method, temperature, window)
    jax.block_until_ready(run(pairs[0], 0))  # compiles
    start, found = time.process_time(), []
    for i, pair in enumerate(pairs):
        found.append(jax.block_until_ready(run(pair, i)))
    ms = 1e3 * (time.process_time() - start) / len(pairs) / editor.config.editar.image_tokens
    return [np.asarray(t[0]) for t, _ in found], np.array([int(n) for _, n in found]), ms


def decoder(
    editor: jaxedit.Editor, method: str, temperature: float, window: int
) -> Callable[[Any, int], tuple[jax.Array, jax.Array]]:
    """A function from a pair and a seed to the tokens of all rows, and the number of turns."""
    config, networks = editor.config, editor.params
    c, N = config.editar, config.editar.image_tokens
    sample = TokenSampleConfig(guidance=1.5, top_k=32, temperature=temperature)
    rows = layout(config.erec.recon_guidance, 2)

    def run(pair: Any, seed: int) -> tuple[jax.Array, jax.Array]:
        words = [pair.instruction]
        source = sample_editar.read_source(networks, jnp.asarray(pair.source)[None], config=config)
        seeds, numbers = jnp.array([seed]), numbers_of(sample)
        texts, chooser = (0, None), TokenSampling(seeds, numbers)
        if method == "editar+erec":
            words, texts, erec = [config.erec.recon_prompt, *words], rows.texts, config.erec
            tau = jnp.float32(erec.tau_replace)
            chooser = DualPathSampling(seeds, source.codes, numbers, tau, rows, erec)
        text, mask = editor.text(words)
        options = {"config": c, "rows": texts, "slots": slots_for(N, window)}
        begun = sample_editar.begin(
            networks.weights, source.prefix, text[None], mask[None], **options
        )
        tokens, _, turns = sample_editar.generate(
            networks.weights, source.prefix, begun, chooser, source.codes,
            config=c, segment=N, window=window,
        )  # fmt: skip
        return tokens, turns

    return run


if __name__ == "__main__":
    main()
