"""Draw docs/edits.png: held-out toybox scenes and what a model makes of them.

python benchmarks/readme_picture.py --model toy-varedit --output docs/edits.png
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxedit
from jaxedit.config import DataConfig
from jaxedit.data.loader import held_out_pairs

SCALE, GAP, TEXT = 2, 12, 34  # pixels are doubled; space between cells; height of the caption


def main() -> None:
    """Edit a few pairs of different types, first seeds, no selection by result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-varedit")
    parser.add_argument("--output", default="docs/edits.png")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--columns", type=int, default=5)
    args = parser.parse_args()

    pairs = held_out_pairs(DataConfig(), args.pairs)
    editor = jaxedit.Editor.from_pretrained(args.model)
    results = editor.edit_batch([p.source for p in pairs], [p.instruction for p in pairs])
    cells = [
        cell(pair.source, np.asarray(result.image), pair.instruction)
        for pair, result in zip(pairs, results, strict=True)
    ]
    tile(cells, args.columns).save(args.output)
    print(f"wrote {args.output}")


def cell(source: np.ndarray, output: np.ndarray, instruction: str) -> Image.Image:
    """Source and output side by side, u8[H,W,3] each, above the instruction."""
    gap = np.full((len(source), 2, 3), 255, np.uint8)
    pair = Image.fromarray(np.concatenate([source, gap, output], axis=1))
    pair = pair.resize((pair.width * SCALE, pair.height * SCALE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (pair.width, pair.height + TEXT), "white")
    canvas.paste(pair)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    lines, words = [""], instruction.split()
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) > pair.width:
            lines.append(word)
        else:
            lines[-1] = longer
    draw.multiline_text((0, pair.height + 2), "\n".join(lines), fill="black", font=font, spacing=1)
    return canvas


def tile(cells: list[Image.Image], columns: int) -> Image.Image:
    """Cells row by row on white."""
    w, h = cells[0].width + GAP, cells[0].height + GAP
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * w - GAP, rows * h), "white")
    for i, picture in enumerate(cells):
        sheet.paste(picture, (i % columns * w, i // columns * h))
    return sheet


if __name__ == "__main__":
    main()
