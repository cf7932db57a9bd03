"""Draw docs/settings.png: what the settings of sampling do to an edit by the bundled toy-varedit.

    python benchmarks/settings_picture.py --output docs/settings.png

A row for each setting: the source, then the edit with each value, all else as it is stored with the
weights, and seed 0. Below ERec's thresholds, the share of the picture that it edits.
"""

import argparse
from typing import Any

from PIL import Image

import jaxedit
from jaxedit.config import DataConfig
from jaxedit.data.loader import held_out_pairs
from jaxedit.data.toybox import ToyPair
from jaxedit.editor.show import side_by_side

ROWS = {
    "seed": (0, 1, 2, 3, 4),
    "guidance": (0.0, 0.5, 1.0, 4.0, 16.0),
    "temperature": (0.1, 0.5, 1.0, 3.0, 6.0),
    "tau_js": (0.01, 0.1, 0.3, 0.7, 0.9),
    "tau_high": (3.0, 10.0, 30.0, 100.0, 300.0),
}
EREC = ("tau_js", "tau_high")  # settings of varedit+erec
COLOURS = 128


def main() -> None:
    """Edit a scene with each value of each setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/settings.png")
    parser.add_argument("--pair", type=int, default=2, help="number of the held-out pair")
    args = parser.parse_args()
    pair = held_out_pairs(DataConfig(level=3), args.pair + 1)[-1]
    editor = jaxedit.Editor.from_pretrained("toy-varedit")
    rows = [row(editor, pair, name, values) for name, values in ROWS.items()]
    sheet = Image.new("RGB", (rows[0].width, sum(picture.height for picture in rows)))
    for i, picture in enumerate(rows):
        sheet.paste(picture, (0, i * picture.height))
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(args.output, optimize=True)
    print(f"wrote {args.output}")


def row(editor: jaxedit.Editor, pair: ToyPair, name: str, values: tuple[Any, ...]) -> Image.Image:
    """Return the source and the edits of a setting side by side, each under its value."""
    method = "varedit+erec" if name in EREC else "varedit"
    edits = [
        editor.edit(pair.source, pair.instruction, method=method, **{name: value})
        for value in values
    ]
    captions = [
        f"{value:g}" + (f": edits {edit.mask.mean():.0%}" if name in EREC else "")
        for value, edit in zip(values, edits, strict=True)
    ]
    pictures = [edits[0].source, *(edit.image for edit in edits)]
    return side_by_side(pictures, ["source", *captions], f"{name} of {method}: {pair.instruction}")


if __name__ == "__main__":
    main()
