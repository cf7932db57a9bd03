"""Own pairs for tests: a folder of small pictures."""

import pathlib

import numpy as np
from PIL import Image


def picture(path: pathlib.Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    """A noisy picture file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def folder(directory: pathlib.Path, count: int, *, masks: bool = False) -> pathlib.Path:
    """source/, target/, instruction/ and perhaps mask/ of `count` pairs; returns the directory."""
    for i in range(count):
        name = f"p{i:03}"
        picture(directory / "source" / f"{name}.jpg", 2 * i)
        picture(directory / "target" / f"{name}.png", 2 * i + 1)
        text = directory / "instruction" / f"{name}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text(f"make it {i}\n")
        if masks:
            (directory / "mask").mkdir(exist_ok=True)
            Image.new("L", (48, 40), 255).save(directory / "mask" / f"{name}.png")
    return directory
