"""The time of the scores that need no network.

    python benchmarks/metrics.py                      # 700 edits of 512x512 pixels, two threads
    python benchmarks/metrics.py --edits=40 --size=256 --threads=1

Sources are noise with the spectrum of photographs; an edit changes a quarter of its source and adds
some noise everywhere. Decoding is not counted. CPU time is of all threads, so that other work on
the machine hardly counts.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from jaxedit.evaluate.sample import Sample
from jaxedit.evaluate.scores import SCORES, Edit

PARTS = ("", "_background", "_edited")
SETS = {
    "PIE-Bench": ("psnr_background", "mse_background", "ssim_background"),
    "PIE-Bench, all parts": tuple(f"{n}{part}" for n in ("psnr", "mse", "ssim") for part in PARTS),
    "MagicBrush": ("l1", "l2"),
    "edges": ("edge_ms_ssim", "edge_f1"),
}


def main() -> None:
    """Fabricate edits, score them, print seconds by score and set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=700)
    parser.add_argument("--size", type=int, default=512, help="pixels of both sides")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    pictures = [photo(args.size, seed) for seed in range(8)]
    print("| scores | seconds | CPU seconds |\n| --- | --- | --- |")
    for name, scores in SETS.items():
        # Fresh edits: they keep their edges
        edits = [fabricate(pictures, row) for row in range(args.edits)]
        start, start_cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(args.threads) as pool:
            list(pool.map(lambda edit, scores=scores: score(edit, scores), edits))
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |", flush=True)


def score(edit: Edit, names: Sequence[str]) -> list[float]:
    """Return the scores of an edit."""
    return [SCORES[name].compute([edit], None)[0] for name in names]


def photo(size: int, seed: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return noise whose amplitude falls with frequency."""
    noise = np.random.default_rng(seed).standard_normal((size, size, 3))
    pixels = sum(s * gaussian_filter(noise, (s, s, 0), mode="wrap") for s in (1, 2, 4, 8, 16, 32))
    low, high = np.percentile(pixels, (1, 99))
    return (255 * np.clip((pixels - low) / (high - low), 0, 1)).astype(np.uint8)


def fabricate(pictures: Sequence[UInt8[np.ndarray, "H W 3"]], row: int) -> Edit:
    """Return an edit of one picture, with a part of another."""
    source, other = pictures[row % 8], pictures[(row + 1) % 8]
    mask = np.zeros(source.shape[:2], bool)
    mask[: len(mask) // 2, : len(mask) // 2] = True
    edited = np.where(mask[..., None], other, source ^ (other & 3))
    return Edit(Sample(str(row), b"", "edit it"), source, edited, other, mask)


if __name__ == "__main__":
    main()
