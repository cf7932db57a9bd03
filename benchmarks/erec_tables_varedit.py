"""ERec for next-scale models on held-out toybox edits, as a Markdown page.

    python benchmarks/erec_tables_varedit.py --models toy-varedit --level 3 --pairs 500 --out docs

Several models, such as those of two training seeds, are judged together. Background scores compare
with the source outside the true edit mask; success is the verdict of the toybox's exact checker.
The page is OUT/erec_tables_varedit.md. The same command goes on after a stop.
"""

import argparse
import functools
import hashlib
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import erec_report
import jax
import numpy as np
from erec_scores import MAX_PSNR, Claim, Score, Tables, score
from tqdm import tqdm

import jaxedit
from jaxedit.config import DataConfig, ScaleERecConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.editor.pipeline import Batch

PLAIN, TWO, ONE = "VAREdit", "ERec, two passes", "ERec, one pass"
BITS, NOISE = "bits that hardly move (AREdit)", "inverted noise (VARIN)"
_REPLACED = {"direct_replacement": True, "pixel_align": False}
_MASK_OF_JS = {"use_nll_low": False, "use_nll_high": False}
SETTINGS: dict[str, dict[str, Any] | None] = {  # changes of the model's own ERec; None: without
    PLAIN: None,
    TWO: {},
    ONE: {"passes": "one"},
    "direct replacement (JS < 0.3)": {"direct_replacement": True},
    "independent noise": {"noise": "independent"},
    "one pass, independent noise": {"passes": "one", "noise": "independent"},
    "without pixel alignment": {"pixel_align": False},
    "JS": {**_MASK_OF_JS, "growth": 1},
    "JS, growth": _MASK_OF_JS,
    "unguided reconstruction": {"recon_guidance": "none"},
    "with hard paste": {"hard_paste": True},
    BITS: {**_REPLACED, "replacement": "bits"},
    NOISE: {**_REPLACED, "replacement": "noise"},
}
CLAIMS = (  # text, from row, to row, signs as of `Claim`
    ("two passes preserve the background better", PLAIN, TWO, {"psnr": 1, "ssim": 1}),
    ("and edit as well", PLAIN, TWO, {"edited": 0}),
    ("one pass preserves the background better", PLAIN, ONE, {"psnr": 1, "ssim": 1}),
    ("and edits as well", PLAIN, ONE, {"edited": 0}),
    (
        "direct replacement preserves, but spoils edits",
        *(PLAIN, "direct replacement (JS < 0.3)", {"psnr": 1, "edited": -1}),
    ),
    (
        "independent noise enlarges the mask and preserves less",
        *(TWO, "independent noise", {"psnr": -1, "area": 1}),
    ),
    (
        "so it does with one pass",
        *(ONE, "one pass, independent noise", {"psnr": -1, "area": 1}),
    ),
    (
        "without pixel alignment it preserves less",
        *(TWO, "without pixel alignment", {"psnr": -1, "edited": 0}),
    ),
    ("a mask of JS alone cuts edits short", PLAIN, "JS", {"edited": -1}),
    (
        "growth brings edits back and costs background",
        *("JS", "JS, growth", {"psnr": -1, "edited": 1}),
    ),
    (
        "both NLL filters bring background back, not at the edit's cost",
        *("JS, growth", TWO, {"psnr": 1, "edited": 0}),
    ),
    *(
        (f"{row}: preserves better, and edits as well", PLAIN, row, {"psnr": 1, "edited": 0})
        for row in (BITS, NOISE)
    ),
    (
        "an unguided reconstruction, one row less, serves as well",
        *(TWO, "unguided reconstruction", {"psnr": 0, "edited": 0}),
    ),
)
# Texts of the reconstruction path; the null text is what dropped instructions became in training.
WORDS = (ScaleERecConfig().recon_prompt, "keep everything as it is", "", None)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["toy-varedit"], metavar="WEIGHTS")
    parser.add_argument("--level", type=int, default=3, choices=range(len(toybox.LEVELS)))
    parser.add_argument("--pairs", type=int, default=500, help="a multiple of --batch")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/erec_tables"))
    args = parser.parse_args()
    if args.pairs % args.batch:
        parser.error(f"--pairs={args.pairs}: expected a multiple of --batch={args.batch}")
    start = time.perf_counter()
    size = toybox.LEVELS[args.level].image_size
    data = DataConfig(level=args.level, image_size=size, seed=args.seed)
    pairs = held_out_pairs(data, args.pairs)
    editors = [
        jaxedit.Editor.from_pretrained(name, rows_per_device=args.batch) for name in args.models
    ]
    temperature = editors[0].config.sample.temperature
    tables: Tables = {}
    for t in dict.fromkeys((temperature, 1.0)):
        tables[f"{t:g}"] = {
            row: _score(editors, pairs, {"temperature": t}, changes, args)
            for row, changes in tqdm(SETTINGS.items(), desc=f"temperature {t:g}")
        }
    words = {_name_of(text): _reconstruction(editors, pairs, text) for text in WORDS}
    command = " ".join(f"--{name} {getattr(args, name)}" for name in ("level", "pairs", "seed"))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "erec_tables_varedit.md").write_text(
        _page(f"--models {' '.join(args.models)} {command}", tables, words, editors[0])
    )
    print(f"wrote {args.out / 'erec_tables_varedit.md'} in {time.perf_counter() - start:.0f} s")


def _score(
    editors: list[jaxedit.Editor],
    pairs: list[toybox.ToyPair],
    sampling: dict[str, Any],
    changes: dict[str, Any] | None,
    args: argparse.Namespace,
) -> Score:
    """Score the edits of all models; pair i has seed i."""
    method = {"method": "varedit"} if changes is None else {"method": "varedit+erec", **changes}
    found = [
        _score_of(editor, pairs, sampling | method, args.work, (args.level, args.seed))
        for editor in editors
    ]
    return Score(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _score_of(
    editor: jaxedit.Editor,
    pairs: list[toybox.ToyPair],
    options: dict[str, Any],
    work: pathlib.Path,
    data: tuple[int, int],
) -> Score:
    """Score the edits of a model; what has been scored is kept in `work`."""
    what = [_hash_of(editor), editor.config.sample.guidance, options, len(pairs), data]
    file = (
        work / f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]}.npz"
    )
    if not file.exists():
        results = editor.edit_batch(
            [p.source for p in pairs], [p.instruction for p in pairs], **options
        )
        area = np.array([np.nan if r.mask is None else r.mask.mean() for r in results])
        made = score(pairs, np.stack([np.asarray(r.image) for r in results]), area)
        work.mkdir(parents=True, exist_ok=True)
        np.savez(file.with_suffix(".part.npz"), **made._asdict())
        file.with_suffix(".part.npz").rename(file)
    with np.load(file) as stored:
        return Score(*(stored[name] for name in Score._fields))


@functools.cache
def _hash_of(editor: jaxedit.Editor) -> str:
    weights = hashlib.sha256()
    for leaf in jax.tree.leaves(editor.pipeline.params):
        weights.update(np.asarray(leaf).tobytes())
    return weights.hexdigest()


def _reconstruction(
    editors: list[jaxedit.Editor], pairs: list[toybox.ToyPair], text: str | None
) -> np.ndarray:
    """PSNR f[n] of the sources, drawn by the models from a text; dB."""
    found = []
    for editor in editors:
        # Guidance 0 leaves the unguided row alone, which reads the null text.
        settings = editor.settings("varedit", **({"guidance": 0.0} if text is None else {}))
        for batch in _batches(editor, pairs, text or ""):
            made = editor.pipeline.run(batch, settings, None)
            error = (np.stack([output.pixels for output in made]) / 255 - batch.pixels / 255) ** 2
            found.append(-10 * np.log10(error.mean((1, 2, 3))))
    return np.minimum(np.concatenate(found), MAX_PSNR)


def _batches(editor: jaxedit.Editor, pairs: list[toybox.ToyPair], text: str) -> Iterator[Batch]:
    rows = editor.rows
    for start in range(0, len(pairs), rows):
        pixels = np.stack([p.source for p in pairs[start : start + rows]])
        seeds = np.arange(start, start + rows, dtype=np.int32)
        yield Batch(pixels, [text] * rows, seeds, np.ones(pixels.shape[:3], bool))


def _name_of(text: str | None) -> str:
    return "the null text" if text is None else f"`{text}`" if text else "an empty text"


def _page(
    command: str, tables: Tables, words: Mapping[str, np.ndarray], editor: jaxedit.Editor
) -> str:
    plain = next(iter(tables.values()))[PLAIN]
    erec = editor.settings("varedit+erec")[1]
    parts = [
        "# ERec for next-scale models on toybox edits",
        f"`python benchmarks/erec_tables_varedit.py {command}`",
        f"{len(plain.success)} edits of held-out pairs of all ten edit types. Background scores "
        f"are means over the {np.isfinite(plain.psnr).sum()} of them that have a background, "
        f"against the source, outside the true mask (at most {MAX_PSNR:g} dB a picture). "
        "`success`: the exact checker finds everything right; `edited`: what was asked for is "
        "there, whatever else changed; `mask`: part of the tokens that ERec calls edited. Guidance "
        f"{editor.config.sample.guidance}; where nothing else is said, tau_js {erec.tau_js:g}, "
        f"tau_low {erec.tau_low:g}, tau_high {erec.tau_high:g}, growth {erec.growth}. The claims "
        "are those of the paper on ERec, which was measured on next-token models.",
    ]
    for t, table in tables.items():
        found = [Claim(text, "", t, a, b, signs) for text, a, b, signs in CLAIMS]
        parts += [f"## Temperature {t}", erec_report.claim_table(tables, found)]
        parts += [erec_report.score_table(table, {})]
    lines = ["| text of the reconstruction path | PSNR, dB (± standard error) |", "|---|---|"]
    for name, values in words.items():
        error = values.std(ddof=1) / len(values) ** 0.5
        lines.append(f"| {name} | {values.mean():.2f} ± {error:.2f} |")
    return "\n\n".join([*parts, "## Which words reconstruct", "\n".join(lines)]) + "\n"


if __name__ == "__main__":
    main()
