"""Every published layout, converted to a store and read back."""

import json
import pathlib

import pytest
from fabricate_archives import A, B, C, write_gz, write_lines, write_parquet, write_split
from fabricate_pairs import folder as write_folder
from fabricate_parquet import (
    GREEN,
    RED,
    WHITE,
    anyedit_row,
    image,
    magicbrush_row,
    omniedit_row,
    pipe_mask,
    pipe_row,
    write,
    write_pipe,
)

from jaxedit.data.row_variants import RowVariant
from jaxedit.data.sources import Row
from jaxedit.data.store import Store
from jaxedit.datasets.convert.store_config import StoreConfig
from jaxedit.datasets.convert.write_store import convert
from jaxedit.datasets.readers import DATASETS

SHARD = "data/train-00000-of-00001.parquet"


def seed(part, *archives, **row):
    def make(directory):
        write_lines(directory / part / "annotations", row)
        for name, files in archives:
            write_gz(directory / part / "images", name, files)

    return make


def hub(*rows, shard=SHARD):
    def make(directory):
        pictures = [k for k, v in rows[0].items() if isinstance(v, dict)]
        write(directory / shard, rows, pictures=pictures)

    return make


def pipe(directory):
    write_pipe(directory, [[pipe_row(), pipe_row("")]], [[pipe_mask()]])


def imgedit(directory):
    name = "results_add_laion_part0"
    files = {f"{name}/1/original.png": A, f"{name}/1/result.png": B}
    row = ([f"{name}/1/original.png"], [f"{name}/1/result.png"], "Add a hat.")
    write_parquet(directory, "add_part0", row)
    write_split(directory / "Singleturn", name, files)


def instructpix2pix(directory):
    folder = directory / "shard-00/0000017"
    folder.mkdir(parents=True)
    texts = {"input": "a lake", "edit": "make it winter", "output": "a frozen lake"}
    (folder / "prompt.json").write_text(json.dumps(texts))
    (folder / "11_0.jpg").write_bytes(A)
    (folder / "11_1.jpg").write_bytes(B)
    # The last tenth is held out.
    (directory / "seeds.json").write_text(json.dumps([["shard-00/0000017", ["11"]], ["x", ["1"]]]))


PAIR = {"source_image": "s/1.jpg", "target_image": "t/1.jpg", "instruction": "Add a lake."}
TURNS = {"source_image": "1/0.png", "instruction_1": "add a hat", "edit_image_1": "1/1.png"}
TURNS |= {"instruction_2": "make it red", "edit_image_2": "1/2.png"}
FRAMES = {f"1/{i}.png": content for i, content in enumerate((A, B, C))}
ULTRAEDIT = {"source_image": image(RED), "edited_image": image(GREEN), "edit_prompt": "snow"}
MAP = {"image": image(GREEN), "text": "a dog"}

# name -> its directory is made, number of pairs in it
MADE = {
    "pairs": (lambda directory: write_folder(directory, 2), 2),
    "seed-unsplash": (
        seed("auto_editing/unsplash", ("u", {"s/1.jpg": A, "t/1.jpg": B}), **PAIR),
        1,
    ),
    "seed-openimages": (
        seed(
            "auto_editing/openimages",
            ("source_images", {"s/1.jpg": A}),
            ("target_images", {"t/1.jpg": B}),
            **PAIR,
        ),
        1,
    ),
    "seed-real": (seed("real_editing", ("real", {"s/1.jpg": A, "t/1.jpg": B}), **PAIR), 1),
    "seed-multiturn": (seed("multi_turn_editing", ("multi_turn", FRAMES), **TURNS), 2),
    "imgedit": (imgedit, 1),
    "instructpix2pix": (instructpix2pix, 1),
    "pipe": (pipe, 2),
    "multigen-depth": (hub({**MAP, "control_depth": image(RED)}), 1),
    "multigen-canny": (hub({**MAP, "canny": image(WHITE), "hed": image(RED)}), 1),
    "cocostuff": (
        hub({"image": image(GREEN), "prompt": ["a dog"], "control_seg": image(RED)}),
        1,
    ),
    "magicbrush": (hub(magicbrush_row(1, WHITE), magicbrush_row(2, WHITE)), 2),
    "omniedit": (hub(omniedit_row(("Add a hat",))), 1),
    "ultraedit": (hub(ULTRAEDIT, shard="data/FreeForm_0-00000-of-00001.parquet"), 1),
    "anyedit": (hub(anyedit_row()), 1),
}


@pytest.mark.parametrize("name", DATASETS)
def test_conversion(name, tmp_path):
    make, pairs = MADE[name]
    src: pathlib.Path = tmp_path / "published" / name
    src.mkdir(parents=True)
    make(src)
    order = StoreConfig(dataset=name, src=src, out=tmp_path / name, shards=2, store_px=64)
    report = convert(order)
    assert (report.pairs, report.unreadable) == (pairs, [])
    assert set(report.dropped) <= {"held out by the published split"}
    store = Store(tmp_path / name)
    first = store[0]
    assert len(store) == pairs and first.dataset == name
    assert first.id.startswith(f"{name}/train/") and first.group_id.startswith(f"{name}/")
    row = RowVariant([store], "edit", 16)[0]
    assert isinstance(row, Row) and row.source.shape == row.target.shape == (16, 16, 3)
    assert row.instruction
    assert convert(order).pairs == pairs  # nothing is left to do, because the pieces are the same
