"""Success that image tokenizers allow on held-out toybox pairs, as a Markdown table.

    python benchmarks/toy_ceiling.py bits=runs/tokenizer_bsq-tiny-level3/export --level 3

Each tokenizer is NAME=WEIGHTS, a bundled name or a directory. The true target goes through its bits
or codes and back, and the toybox's exact checker reads the result; no editor can do better.
"""

import argparse

import jax
import numpy as np
from toy_ablation import score, table

from jaxedit.checkpoints.pretrained import load_pretrained
from jaxedit.config import PRESETS, DataConfig, PretrainedConfig
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image, quantize
from jaxedit.tree import Tree

BATCH = 50  # pictures


def main() -> None:
    """Reconstruct the same targets with every tokenizer and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizers", nargs="+", metavar="NAME=WEIGHTS")
    parser.add_argument("--pairs", type=int, default=500, help=f"a multiple of {BATCH}")
    parser.add_argument("--level", type=int, default=0, choices=range(len(toybox.LEVELS)))
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    args = parser.parse_args()

    size = toybox.LEVELS[args.level].image_size
    data = DataConfig(level=args.level, image_size=size, seed=args.seed)
    pairs = held_out_pairs(data, args.pairs)
    targets = np.stack([pair.target for pair in pairs])
    rows = []
    for tokenizer in args.tokenizers:
        name, _, weights = tokenizer.rpartition("=")
        rows.append(score(name or weights, pairs, list(reconstruct(weights, targets))))
    print(table(rows))


def reconstruct(weights: str, pictures: np.ndarray) -> np.ndarray:
    """Return pictures u8[N,H,W,3] that were encoded to bits or codes and decoded."""
    directory = ensure_converted(weights)
    config = load_pretrained(directory, [])[0]
    name = "bsq" if config.bsq else "vq"
    params = load_pretrained(directory, [name])[1][name]
    through = jax.jit(_through_bits if config.bsq else _through_codes, static_argnums=0)
    batches = np.split(pictures, range(BATCH, len(pictures), BATCH))
    return np.concatenate([np.asarray(through(config, params, batch)) for batch in batches])


def _through_bits(config: PretrainedConfig, params: Tree, pixels: jax.Array) -> jax.Array:
    tokenizer, variables = BSQTokenizer(config.bsq), {"params": params}
    # A tokenizer alone does not say on which grids it was trained.
    scales = (config.varedit or PRESETS["tiny"].varedit).latent_scales
    raw = tokenizer.apply(variables, image.to_float(pixels), method="encode")
    feature = quantize.encode_scales(raw, scales)[1][-1]
    return image.to_uint8(tokenizer.apply(variables, feature, method="decode"))


def _through_codes(config: PretrainedConfig, params: Tree, pixels: jax.Array) -> jax.Array:
    tokenizer, variables = VQTokenizer(config.vq), {"params": params}
    codes = tokenizer.apply(variables, image.to_float(pixels), method="codes")
    return image.to_uint8(tokenizer.apply(variables, codes, method="decode"))


if __name__ == "__main__":
    main()
