"""Draw docs/edits.png: held-out toybox scenes, their edits without and with ERec, and ERec's masks.

    python benchmarks/readme_picture.py --output docs/edits.png

First pairs and first seeds, no selection by result.
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxedit
from jaxedit.config import DataConfig
from jaxedit.data.loader import held_out_pairs

MODELS = (("toy-varedit", "varedit"), ("toy-editar", "editar"))  # and their methods
LEVEL = 3  # of the toybox
SCALE, GAP, TEXT = 2, 12, 20  # pixels are doubled; space between cells; height of a caption


def main() -> None:
    """Edit the same number of pairs with both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/edits.png")
    parser.add_argument("--pairs", type=int, default=4, help="of each model")
    parser.add_argument("--columns", type=int, default=2)
    args = parser.parse_args()
    cells = []
    pairs = held_out_pairs(DataConfig(level=LEVEL), args.pairs)
    given = [p.source for p in pairs], [p.instruction for p in pairs]
    for name, method in MODELS:
        editor = jaxedit.Editor.from_pretrained(name)
        plain = editor.edit_batch(*given, method=method)
        kept = editor.edit_batch(*given, method=f"{method}+erec")
        cells += [
            cell(a, b, f"{name}: {p.instruction}")
            for a, b, p in zip(plain, kept, pairs, strict=True)
        ]
    tile(cells, args.columns).save(args.output)
    print(f"wrote {args.output}")


def cell(plain: jaxedit.EditResult, kept: jaxedit.EditResult, caption: str) -> Image.Image:
    """Source, edit, edit with ERec and its mask (white: edited) side by side under a caption."""
    width, height = size = [SCALE * side for side in plain.source.size]
    mask = Image.fromarray(np.uint8(255 * kept.mask)).convert("RGB")
    canvas = Image.new("RGB", (4 * width + 6, height + TEXT), "white")
    for i, picture in enumerate((plain.source, plain.image, kept.image, mask)):
        canvas.paste(picture.resize(size, Image.Resampling.NEAREST), (i * (width + 2), TEXT))
    ImageDraw.Draw(canvas).text((0, 0), caption, fill="black", font=ImageFont.load_default(14))
    return canvas


def tile(cells: list[Image.Image], columns: int) -> Image.Image:
    """Cells row by row on white."""
    w, h = cells[0].width + GAP, cells[0].height + GAP
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (w * columns - GAP, h * rows - GAP), "white")
    for i, picture in enumerate(cells):
        sheet.paste(picture, (i % columns * w, i // columns * h))
    return sheet


if __name__ == "__main__":
    main()
