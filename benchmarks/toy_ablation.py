"""Edit success of trained toy models on held-out toybox pairs, as a Markdown table.

    python benchmarks/toy_ablation.py sar=runs/sar/export finest=runs/finest/export --pairs 500

Each model is NAME=WEIGHTS, a bundled name or a directory. Success is judged by the toybox's exact
checker: the edited attributes are as asked and every other attribute is unchanged. PSNR and SSIM
are taken outside the true edit mask. `tokenizer` is the ceiling: the true target through the bits.
"""

import argparse
import pathlib
import time

import jax
import numpy as np
from PIL import Image

import jaxedit
from jaxedit.config import DataConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.data.toybox.scene import SHAPES
from jaxedit.data.transforms import Fit, fit_of, from_square, to_square
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.ops import image, pyramid, quantize

PIE_TYPES = (
    "random", "replace", "add", "remove", "face", "pose", "colour", "texture", "background", "style"
)  # fmt: skip


def main() -> None:
    """Evaluate every model on the same pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="NAME=WEIGHTS")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--level", type=int, default=0, choices=range(len(toybox.LEVELS)))
    parser.add_argument("--shape", default="square", choices=SHAPES)
    about = "how pictures become squares; an edited crop is pasted back (default: as in training)"
    parser.add_argument("--fit", choices=("pad", "crop"), help=about)
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--guidance_until", type=int)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top_p", type=float)
    parser.add_argument("--greedy", action="store_true", default=None)
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file")
    args = parser.parse_args()

    size = toybox.LEVELS[args.level].image_size
    data = DataConfig(level=args.level, image_size=size, seed=args.seed)
    pairs = held_out_pairs(data, args.pairs, shape=args.shape)
    names = ("guidance", "guidance_until", "temperature", "top_p", "greedy")
    options = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    if args.fit:
        options |= {"fit": args.fit, "keep_size": args.fit == "crop"}
    rows = []
    for model in args.models:
        name, _, weights = model.rpartition("=")
        editor = jaxedit.Editor.from_pretrained(weights)
        if not rows:
            fit = fit_of(editor.config, args.fit, keep_size=args.fit == "crop")
            rows.append(score("tokenizer", pairs, reconstruct(editor, pairs, fit)))
        outputs = edit(editor, pairs, options)
        rows.append(score(name or weights, pairs, outputs) | costs(editor, pairs[0], options))
    text = table(rows)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


def edit(editor: jaxedit.Editor, pairs: list[toybox.ToyPair], options: dict) -> list[np.ndarray]:
    """u8[H,W,3] edits of all pairs; pair i has seed i."""
    results = editor.edit_batch(
        [p.source for p in pairs], [p.instruction for p in pairs], **options
    )
    return [np.asarray(r.image) for r in results]


def reconstruct(editor: jaxedit.Editor, pairs: list[toybox.ToyPair], fit: Fit) -> list[np.ndarray]:
    """u8[H,W,3] true targets after encoding to bits and decoding."""
    tokenizer, scales = BSQTokenizer(editor.config.bsq), editor.config.varedit.latent_scales

    @jax.jit
    def through_bits(pixels: jax.Array) -> jax.Array:
        variables = {"params": editor.params["bsq"]}
        raw = tokenizer.apply(variables, image.to_float(pixels), method="encode")
        feature = quantize.encode_scales(raw, scales)[1][-1]
        return image.to_uint8(tokenizer.apply(variables, feature, method="decode"))

    found = []
    for pair in pairs:
        picture = Image.fromarray(pair.target)
        square = np.asarray(to_square(picture, editor.size, fit))
        made = np.asarray(through_bits(square[None]))[0]
        found.append(np.asarray(from_square(made, picture, fit)))
    return found


def score(name: str, pairs: list[toybox.ToyPair], outputs: list[np.ndarray]) -> dict:
    """Success per PIE type and background fidelity of `outputs`."""
    checks = [toybox.check(output, pair) for output, pair in zip(outputs, pairs, strict=True)]
    row = {"model": name, "success": np.mean([c.success for c in checks])}
    for kind, label in enumerate(PIE_TYPES):
        of_kind = [c.success for c, p in zip(checks, pairs, strict=True) if p.edit_type == kind]
        row[label] = np.mean(of_kind) if of_kind else np.nan
    local = [c for c in checks if c.psnr_outside is not None]
    row["PSNR"] = np.mean([c.psnr_outside for c in local])
    row["SSIM"] = np.mean([c.ssim_outside for c in local])
    return row


def costs(editor: jaxedit.Editor, pair: toybox.ToyPair, options: dict) -> dict:
    """Sequence length and the median wall time of one edit, in milliseconds."""
    times = []
    for seed in range(6):
        start = time.perf_counter()
        editor.edit(pair.source, pair.instruction, seed=seed, **options)
        times.append(time.perf_counter() - start)
    model = editor.config.varedit
    source = model.scales if model.conditioning == "full" else model.scales[-1:]
    length = pyramid.tokens(source) + pyramid.tokens(model.scales)
    return {"tokens": length, "ms/edit": 1e3 * np.median(times[1:])}


def table(rows: list[dict]) -> str:
    """Rows of numbers as a Markdown table."""
    columns = list(rows[-1])

    def cell(row: dict, column: str) -> str:
        value = row.get(column, "")
        if isinstance(value, float):
            return f"{value:.1f}" if column in ("PSNR", "ms/edit") else f"{value:.3f}"
        return str(value)

    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cell(r, c) for c in columns) + " |" for r in rows])


if __name__ == "__main__":
    main()
