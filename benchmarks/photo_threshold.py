"""How well the bundled models' image tokenizers render toys and photographs, in dB.

    python benchmarks/photo_threshold.py FOLDER

FOLDER holds photographs; of each the whole and nine squares are taken. Toys are held-out scenes of
every level. `jaxedit.editor.photo_check.LEAST` is between the two.
"""

import pathlib
import sys

import numpy as np
from PIL import Image

from jaxedit import Editor
from jaxedit.config import DataConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.data.pictures import photo
from jaxedit.data.transforms import fit_of, to_square
from jaxedit.editor.photo_check import LEAST, psnr_of

SCENES = 50  # of each level


def squares(image: Image.Image) -> list[Image.Image]:
    """Return a picture, and squares of half its short side on a grid of 3 x 3."""
    side = min(image.size) // 2
    steps = [np.linspace(0, length - side, 3).astype(int) for length in image.size]
    corners = [(x, y) for x in steps[0] for y in steps[1]]
    return [image, *(image.crop((x, y, x + side, y + side)) for x, y in corners)]


def main() -> None:
    """Print the quantiles 0, 1, 5, 50, 95, 99 and 100 % for each model and kind of picture."""
    paths = sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_file())
    photos = [part for path in paths for part in squares(photo.read(path))]
    kinds = {"photographs": photos}
    for level, rules in enumerate(toybox.LEVELS):
        data = DataConfig(level=level, image_size=rules.image_size, seed=0)
        pairs = held_out_pairs(data, SCENES)
        kinds[f"level {level}"] = [Image.fromarray(pair.source) for pair in pairs]
    for name in LEAST:
        editor = Editor.from_pretrained(name)
        for kind, pictures in kinds.items():
            read = [np.asarray(to_square(p, editor.size, fit_of(editor.config))) for p in pictures]
            found = [psnr_of(editor.pipeline, square) for square in read]
            parts = np.percentile(found, [0, 1, 5, 50, 95, 99, 100])
            share = np.mean(np.array(found) < LEAST[name])
            quantiles = " ".join(f"{part:5.1f}" for part in parts)
            print(f"{name:12} {kind:12} {quantiles}  below {LEAST[name]}: {share:.1%}", flush=True)


if __name__ == "__main__":
    main()
