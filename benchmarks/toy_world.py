"""The toybox in numbers and pictures: speed, exactness of the checker, and a sheet of pairs.

    python benchmarks/toy_world.py --sheet docs/toybox_level3.png

Prints two Markdown tables. A row of the sheet is a training pair of level 3: source, target, edit
mask, and four times the difference between the pictures, around grey.
"""

import argparse
import pathlib
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from jaxedit.data import toybox

SAMPLES = Image.Resampling
ENLARGED = 2  # times, on the sheet


def blurred(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a Gaussian blur."""
    return lambda x: np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(sigma)))


def noisy(picture: np.ndarray) -> np.ndarray:
    """Add noise of 20 grey levels."""
    noise = np.random.default_rng(0).normal(0, 20, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def halved(picture: np.ndarray) -> np.ndarray:
    """Halve the picture and enlarge it again."""
    small = Image.fromarray(picture).resize([n // 2 for n in picture.shape[:2]], SAMPLES.BOX)
    return np.asarray(small.resize(picture.shape[:2], SAMPLES.BICUBIC))


DAMAGES = {
    "none": lambda x: x,
    "noise, 20 grey levels": noisy,
    "blur, 0.6 px": blurred(0.6),
    "blur, 1 px": blurred(1.0),
    "half the size and back": halved,
}


def main() -> None:
    """Print the tables; draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=300, help="of each level")
    parser.add_argument("--sheet", type=pathlib.Path, help="also draw pairs into this PNG")
    args = parser.parse_args()

    levels = range(len(toybox.LEVELS))
    held_out = {
        level: [toybox.make(7, i, level, split="test", edit_type=i % 10) for i in range(args.pairs)]
        for level in levels
    }
    print("| targets read without an error | " + " | ".join(map(str, levels)) + " |")
    print("|---" * (1 + len(levels)) + "|")
    for name, damage in DAMAGES.items():
        rates = [
            np.mean([toybox.check(damage(pair.target), pair).success for pair in pairs])
            for pairs in held_out.values()
        ]
        print(f"| {name} | " + " | ".join(f"{rate:.3f}" for rate in rates) + " |")
    print("\n| level | pairs per CPU-second | ms of the checker per picture |\n|---|---|---|")
    for level, pairs in held_out.items():
        drawing = seconds(lambda level=level: [toybox.make(1, i, level) for i in range(1000)])
        checking = seconds(lambda pairs=pairs: [toybox.check(p.target, p) for p in pairs])
        print(f"| {level} | {1000 / drawing:.0f} | {1000 * checking / len(pairs):.0f} |")
    if args.sheet:
        halves = range(10), range(10, 20)
        columns = [np.concatenate([panels(i) for i in half]) for half in halves]
        Image.fromarray(np.concatenate(columns, axis=1)).save(args.sheet)


def seconds(run: Callable[[], object]) -> float:
    """Return the CPU time of a second call."""
    run()
    start = time.process_time()
    run()
    return time.process_time() - start


def panels(index: int) -> np.ndarray:
    """Draw training pair `index`; the edit types take turns."""
    pair = toybox.make(0, index, 3, edit_type=index % 10)
    difference = 4 * (pair.target.astype(int) - pair.source) + 128
    pictures = (
        pair.source,
        pair.target,
        np.repeat(255 * pair.mask.astype(np.uint8)[..., None], 3, axis=-1),
        difference.clip(0, 255).astype(np.uint8),
    )
    return np.concatenate(pictures, axis=1).repeat(ENLARGED, 0).repeat(ENLARGED, 1)


if __name__ == "__main__":
    main()
