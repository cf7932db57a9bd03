"""Price of pruning tokens of the finest scale on held-out toybox pairs, as a Markdown table.

    python benchmarks/prune.py --pairs 200

`toy-varedit` edits as usual up to the finest scale, which costs most. A criterion then scores the
tokens of that scale, and only those with the highest scores are run, with the machinery of masks:

- mean: squared distance of a token's embedded input from the mean of the scale (FastVAR, arXiv
  2503.23367, pivotal token selection).
- source: distance of the edit's running feature from the source's own after the same scales.
- bits: number of bits, the largest of the coarser scales, in which the edit and the source differ.

A pruned token takes the bits of what the running feature leaves of the source, or adds nothing. A
fixed share holds for all pictures. With a threshold each picture runs the least of a quarter, a
half, three quarters or all of the tokens that holds every token above it, and locks the others.
Before that, the tokens above it may grow by their neighbours, as ERec's masks do.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
from toy_ablation import score

import jaxedit
from jaxedit.config import DataConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.erec.edit_mask import dilate
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import image, quantize
from jaxedit.sampling import next_scale, sample_varedit
from jaxedit.sampling.lock import BitLock, runs_of, source_bits
from jaxedit.sampling.methods import BitSampling, numbers_of

BATCH = 50
CRITERIA = ("mean", "source", "bits")
THRESHOLDS = (0, 1)  # of `bits`
FROM = 0.25  # coarser grids than this share of the finest side do not count for `bits`


def main() -> None:
    """Edit the same pairs in every way and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200, help=f"a multiple of {BATCH}")
    parser.add_argument("--level", type=int, default=3, choices=range(len(toybox.LEVELS)))
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    parser.add_argument("--criteria", default=",".join(CRITERIA), help="comma-separated")
    parser.add_argument("--shares", default="0.75,0.5", help="comma-separated fixed shares")
    args = parser.parse_args()
    size = toybox.LEVELS[args.level].image_size
    data = DataConfig(level=args.level, image_size=size, seed=args.seed)
    pairs = held_out_pairs(data, args.pairs)
    editor = jaxedit.Editor.from_pretrained("toy-varedit")
    batches = [before_the_finest(editor, pairs, i) for i in range(0, len(pairs), BATCH)]
    print("| criterion | tokens kept | others | run | success | PSNR |\n|---|---|---|---|---|---|")

    def show(criterion: str, rule: str, fill: str, masks: list[np.ndarray]) -> None:
        made = [
            finish(editor, *batch[:2], m, fill) for batch, m in zip(batches, masks, strict=True)
        ]
        row = score("", pairs, [picture for pictures, _ in made for picture in pictures])
        run = np.concatenate([shares for _, shares in made]).mean()
        numbers = f"{run:.2f} | {row['success']:.3f} | {row['PSNR']:.2f}"
        print(f"| {criterion} | {rule} | {fill} | {numbers} |", flush=True)

    show(
        "none",
        "all",
        "",
        [np.ones((BATCH, *editor.config.varedit.scales[-1]), bool)] * len(batches),
    )
    for criterion in args.criteria.split(","):
        scores = [np.asarray(batch[2][criterion]) for batch in batches]
        for share in [float(s) for s in args.shares.split(",") if s]:
            for fill in ("source", "nothing"):
                show(criterion, f"{share:.0%}", fill, [highest(s, share) for s in scores])
        for threshold in THRESHOLDS if criterion == "bits" else ():
            for side in (1, 3):
                masks = [np.asarray(dilate(s > threshold, jnp.int32(side))) for s in scores]
                grown = ", and their neighbours" if side > 1 else ""
                show(criterion, f"above {threshold}{grown}", "source", masks)


def before_the_finest(editor: jaxedit.Editor, pairs: list[toybox.ToyPair], start: int) -> tuple:
    """Return source features, the state before the finest scale, and the scores f32[B,h,w]."""
    batch = pairs[start : start + BATCH]
    features = [editor.pipeline.text([pair.instruction]) for pair in batch]
    text, mask = (np.stack(part) for part in zip(*features, strict=True))
    pixels = np.stack([p.source for p in batch])
    seeds = np.arange(start, start + BATCH, dtype=np.int32)
    return _before(editor)(editor.pipeline.params, pixels, text, mask, seeds)


@functools.cache
def _before(editor: jaxedit.Editor):
    config, c = editor.config, editor.config.varedit
    numbers = numbers_of(config.sample, len(c.scales))

    @jax.jit
    def run(params, pixels, text, mask, seeds):
        bsq = BSQTokenizer(config.bsq)
        source = bsq.apply({"params": params["bsq"]}, image.to_float(pixels), method="encode")
        network = next_scale.Network(VAREdit(c), params["transformer"], c.scales, c.rope_scales)
        method = BitSampling(sample_varedit.uniforms_of(seeds, c), numbers)
        tokens = sample_varedit.source_tokens(source, c)
        rows = {"paths": next_scale.PATHS, "dropped": next_scale.DROPPED}
        state, differing = next_scale.begin(network, text, mask, tokens, **rows), []
        for k, size in enumerate(c.scales[:-1]):
            own = source_bits(source, state.feature, size, False)
            state, bits, _ = next_scale.sample_scale(network, state, method, k, paths=(0, 0))
            if max(size) >= FROM * max(c.scales[-1]):
                count = jnp.sum(own != bits, -1).astype(jnp.float32).reshape(-1, *size)
                differing.append(jax.image.resize(count, (len(count), *c.scales[-1]), "nearest"))
        feature = state.feature[:, 0]
        x = feature @ params["transformer"]["word_embed"]["kernel"]
        unedited = quantize.encode_scales(source, c.scales)[1][-2]
        scores = {
            "mean": jnp.sum((x - x.mean((1, 2), keepdims=True)) ** 2, -1),
            "source": jnp.linalg.norm(feature - unedited, axis=-1),
            "bits": functools.reduce(jnp.maximum, differing),
        }
        return source, (state, seeds), scores

    return run


def highest(scores: np.ndarray, share: float) -> np.ndarray:
    """Return a mask, True at a share of each picture's tokens, those with the highest scores."""
    flat = scores.reshape(len(scores), -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, : round(share * flat.shape[1])]
    mask = np.zeros(flat.shape, bool)
    np.put_along_axis(mask, order, True, axis=1)
    return mask.reshape(scores.shape)


def finish(
    editor: jaxedit.Editor, source, state: tuple, mask: np.ndarray, fill: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures u8[B,H,W,3], and the share of the finest scale's tokens that each ran."""
    c = editor.config.varedit
    needs = [runs_of(row[None], c.scales) for row in mask]
    made = {
        need: np.asarray(_finest(editor, need, fill)(editor.pipeline.params, source, *state, mask))
        for need in dict.fromkeys(needs)
    }
    tokens = mask[0].size
    shares = np.array([need[-1] / tokens if need else 1.0 for need in needs])
    return np.stack([made[need][i] for i, need in enumerate(needs)]), shares


@functools.cache
def _finest(editor: jaxedit.Editor, runs: tuple[int, ...], fill: str):
    config, c = editor.config, editor.config.varedit
    numbers, last = numbers_of(config.sample, len(c.scales)), len(c.scales) - 1

    @jax.jit
    def run(params, source, state, seeds, mask):
        network = next_scale.Network(
            VAREdit(c), params["transformer"], c.scales, c.rope_scales, runs
        )
        method = BitSampling(sample_varedit.uniforms_of(seeds, c), numbers)
        editable = mask.reshape(len(mask), -1)
        lock = BitLock(source, (editable,) * len(c.scales))
        state, bits, _ = next_scale.sample_scale(
            network, state, method, last, paths=next_scale.PATHS, lock=lock
        )
        feature = state.feature[:, 0]
        if fill == "nothing":
            codes = quantize.codes_of(bits[:, 0]).reshape(feature.shape)
            feature = jnp.where(mask[..., None], feature, feature - codes)
        pixels = BSQTokenizer(config.bsq).apply({"params": params["bsq"]}, feature, method="decode")
        return image.to_uint8(pixels)

    return run


if __name__ == "__main__":
    main()
