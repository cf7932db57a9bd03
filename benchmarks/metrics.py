"""The time of scores: those that need no network, and the networks of the others.

    python benchmarks/metrics.py                            # 100 edits of 512x512 pixels
    python benchmarks/metrics.py --edits=700 --threads=1
    python benchmarks/metrics.py --networks                 # beside PyTorch, if it is installed

Without `--networks`: edits go through `score_samples`, as in an evaluation: pictures are read from
files, each is decoded once, and rows are written. Sources are noise with the spectrum of
photographs, as JPEG; an edit, as PNG, changes a quarter of its source and adds some noise
everywhere. CPU time is of all threads, so that other work on the machine hardly counts.
"""

import argparse
import io
import pathlib
import tempfile
import time
from collections.abc import Sequence
from unittest import mock

import numpy as np
from jaxtyping import UInt8
from metric_networks import NETWORKS, compare
from PIL import Image
from scipy.ndimage import gaussian_filter

from jaxedit.evaluate.results import Results
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import score_samples, score_sets
from jaxedit.evaluate.scores import SCORES, Score
from jaxedit.evaluate.scores.predictions import PREDICTED, Predictions

PIE_BENCH = 700  # edits
SETS = {
    "decoding alone": (),
    "PIE-Bench": ("psnr_background", "mse_background", "ssim_background"),
    "MagicBrush": ("l1", "l2"),
    "edges": ("edge_ms_ssim", "edge_f1"),
    "depth and classes": ("depth_rmse", "miou"),
    "all that need no network": tuple(
        name for name, score in SCORES.items() if score.network in ("", *PREDICTED)
    ),
}


def main() -> None:
    """Print the seconds of each set of scores, or of each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--size", type=int, default=512, help="pixels of both sides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument(
        "--networks", nargs="*", choices=NETWORKS, help="time these instead; without names all"
    )
    parser.add_argument("--rows", type=int, default=8, help="rows of a call of a network")
    args = parser.parse_args()
    if args.networks is not None:
        names = args.networks or tuple(NETWORKS)
        compare(names, rows=args.rows, threads=args.threads, repeats=args.repeats)
        return
    print(f"| {args.edits} edits, {args.threads} threads | seconds for {PIE_BENCH} | CPU seconds |")
    print("| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        samples = fabricate(pathlib.Path(folder), args.edits, args.size)
        for name, scores in SETS.items():
            times = [run(samples, pathlib.Path(folder), scores, args) for _ in range(args.repeats)]
            wall, cpu = np.min(times, 0) * PIE_BENCH / args.edits
            print(f"| {name} | {wall:.1f} | {cpu:.1f} |", flush=True)


def run(
    samples: Sequence[Sample],
    folder: pathlib.Path,
    names: Sequence[str],
    args: argparse.Namespace,
) -> tuple[float, float]:
    """Score all edits; return seconds, and CPU seconds of all threads."""
    singles = [SCORES[name] for name in names if isinstance(SCORES[name], Score)]
    sets = [SCORES[name] for name in names if not isinstance(SCORES[name], Score)]
    if not names:
        # Edits are read only for a score
        singles = [Score("nothing", lambda edits, network: [0.0] * len(edits))]
    paths = {sample.key: folder / "edits" / f"{sample.key}.png" for sample in samples}
    networks = dict.fromkeys(PREDICTED, Predictions(folder / "predictions"))
    benchmark = Benchmark("fabricated", samples, tuple(names))
    with (
        tempfile.TemporaryDirectory() as out,
        mock.patch("os.cpu_count", return_value=args.threads),
    ):
        start, start_cpu = time.perf_counter(), time.process_time()
        if singles:
            score_samples(benchmark, paths, Results(pathlib.Path(out)), singles, networks)
        if sets:
            score_sets(benchmark, paths, sets, networks)
        return time.perf_counter() - start, time.process_time() - start_cpu


def fabricate(folder: pathlib.Path, count: int, size: int) -> list[Sample]:
    """Write edits and predictions of `count` samples of `size` x `size` pixels."""
    pictures = [photo(size, seed) for seed in range(8)]
    mask = np.zeros((size, size), bool)
    mask[: size // 2, : size // 2] = True
    classes = (pictures[0][..., 0] // 2).astype(np.uint8)
    for name in ("edits", "predictions"):
        (folder / name).mkdir()
    samples = []
    for row in range(count):
        source, other = pictures[row % 8], pictures[(row + 1) % 8]
        edited = np.where(mask[..., None], other, source ^ (other & 3))
        (folder / f"edits/{row}.png").write_bytes(encoded(edited, "PNG"))
        np.save(folder / f"predictions/{row}.npy", np.roll(classes, row, 0))
        sample = Sample(
            str(row),
            encoded(source, "JPEG"),
            "edit it",
            target=encoded(other, "JPEG"),
            mask=mask,
            labels=encoded(classes, "PNG"),
        )
        samples.append(sample)
    return samples


def photo(size: int, seed: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return noise whose amplitude falls with frequency."""
    noise = np.random.default_rng(seed).standard_normal((size, size, 3))
    pixels = sum(s * gaussian_filter(noise, (s, s, 0), mode="wrap") for s in (1, 2, 4, 8, 16, 32))
    low, high = np.percentile(pixels, (1, 99))
    return (255 * np.clip((pixels - low) / (high - low), 0, 1)).astype(np.uint8)


def encoded(pixels: UInt8[np.ndarray, "..."], kind: str) -> bytes:
    """Return pixels as the content of a picture file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


if __name__ == "__main__":
    main()
