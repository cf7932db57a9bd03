import json

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import ConfigError, DataConfig
from jaxedit.data.loader import example_rows, make_loader
from jaxedit.data.pair_file import PairFile
from jaxedit.data.pair_list import PairList
from jaxedit.data.text_tokenizer import TextTokenizer

HALF = (("edit", 0.5), ("recon", 0.5))
LINE = {"source": "a.png", "target": "b.png", "instruction": "make it snow", "mask": "m.png"}


def write(directory, *lines):
    path = directory / "pairs.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return path


def read(path, *arguments, **options):
    return PairFile(PairList(path), *arguments, **options)


@pytest.fixture
def pairs(tmp_path):
    for name, colour in (("a.png", (10, 20, 30)), ("b.png", (200, 0, 0))):
        Image.new("RGB", (96, 64), colour).save(tmp_path / name)
    Image.new("L", (96, 64), 255).save(tmp_path / "m.png")
    return write(tmp_path, LINE, "", {**LINE, "instruction": "remove it"})


def test_rows(pairs):
    source = read(pairs, 32)
    assert len(source) == 2
    row = source[0]
    assert row.source.shape == (32, 32, 3) and (row.target == (200, 0, 0)).all()
    assert row.mask.shape == (32, 32) and row.mask.all()
    assert (row.instruction, row.task, row.edit_type) == ("make it snow", "edit", -1)
    assert source[1].instruction == "remove it"


def test_masks_are_used_if_every_line_has_one(pairs):
    line = {k: v for k, v in LINE.items() if k != "mask"}
    assert read(write(pairs.parent, LINE, line), 32)[0].mask is None


def test_masks_of_0_and_1(pairs):
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = 1
    Image.fromarray(mask).save(pairs.parent / "m.png")
    row = read(pairs, 32)[0]
    assert row.mask[:, 16:].all() and not row.mask[:, :16].any()


def test_deep_depth_maps(pairs):
    depth = np.linspace(3, 80, 96, dtype=np.float32)[None].repeat(64, axis=0)
    Image.fromarray(depth).save(pairs.parent / "d.tif")
    line = {**LINE, "source": "d.tif", "task": "depth"}
    source = read(write(pairs.parent, line), 32, "depth")[0].source
    assert source[0, 0, 0] < 60 and source[0, -1, 0] > 195  # the middle square of 0 ... 255


def test_reconstruction_rows(pairs):
    row = read(pairs, 32, "recon")[0]
    np.testing.assert_array_equal(row.source, row.target)
    assert row.instruction == "reconstruct the image without changes" and not row.mask.any()


def test_loader_reads_a_file(pairs):
    config = DataConfig(source=str(pairs), image_size=32, batch_size=4, mixture=HALF)
    batch = next(make_loader(config, TextTokenizer.load("toy-tokenizer"), start_step=3))
    assert batch.source.shape == (4, 32, 32, 3)
    same = (batch.source == batch.target).all((1, 2, 3))
    assert same.sum() == 2
    np.testing.assert_array_equal(batch.mask.any((1, 2)), ~same)
    assert [row.instruction for row in example_rows(config, 3)] == [
        "make it snow",
        "reconstruct the image without changes",
        "remove it",
    ]


def test_maps_and_captions(pairs):
    canny = {"task": "canny", "target": "b.png", "instruction": "a red wall"}
    depth = {**LINE, "task": "depth", "instruction": "A room."}
    path = write(pairs.parent, LINE, canny, depth)
    (row,) = read(path, 32, "canny")
    assert row.instruction == (
        "Given the canny edge image, generate an image following the description: a red wall"
    )
    assert (
        not row.source.any() and (row.target == (200, 0, 0)).all()
    )  # a single colour has no edges
    assert row.mask.all() and row.task == "canny"
    (row,) = read(path, 32, "depth", style="paper")
    assert row.instruction == (
        "Given the depth, generate the image following the instruction: A room."
    )
    assert (row.source == (10, 20, 30)).all()
    assert len(read(path, 32)) == len(read(path, 32, "recon")) == 1


def test_parts_of_the_edits(pairs):
    path = write(pairs.parent, LINE, {**LINE, "task": "other"}, {**LINE, "task": "add_remove"})
    counts = {task: len(read(path, 32, task)) for task in ("edit", "other", "add_remove")}
    assert counts == {"edit": 3, "other": 1, "add_remove": 1}
    shares = (("add_remove", 0.25), ("other", 0.75))
    config = DataConfig(source=str(path), image_size=32, mixture=shares)
    assert example_rows(config, 1)[0].task == "add_remove"
    with pytest.raises(ConfigError, match="at least one line for the task 'canny'"):
        read(path, 32, "canny")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: expected a JSON object"),
        ("[1]", r"line 2: expected texts for source, target, instruction"),
        ({"source": "a.png"}, "found .'source'"),
        ({**LINE, "instruction": ""}, "line 2: expected texts"),
        ({**LINE, "colour": "x"}, "found .'colour'"),
        ({**LINE, "task": "edge"}, "line 2: task 'edge': expected one of"),
        ({"task": "depth", "target": "b.png", "instruction": "a"}, "line 2: expected texts for"),
        ({**LINE, "target": "no.png"}, "line 2: target 'no.png' is not a file"),
    ],
)
def test_damaged_lines(pairs, line, message):
    with pytest.raises(ConfigError, match=message):
        read(write(pairs.parent, LINE, line), 32)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(ConfigError, match="none.jsonl: expected a readable text file"):
        read(tmp_path / "none.jsonl", 32)
    with pytest.raises(ConfigError, match="expected at least one line for the task 'edit'"):
        read(write(tmp_path, ""), 32)


def test_a_damaged_picture_is_replaced_by_the_next_row(pairs, caplog):
    (pairs.parent / "cut.png").write_bytes((pairs.parent / "b.png").read_bytes()[:60])
    lines = [{**LINE, "instruction": f"pair {i}"} for i in range(200)]
    lines[199]["target"] = "cut.png"
    source = read(write(pairs.parent, *lines), 32)
    assert len(source) == 200
    assert source[199].instruction == source[199].instruction == "pair 0"
    (said,) = caplog.messages
    assert "line 200: " in said and "the next row takes its place (1 of 200" in said
    lines[7]["source"] = lines[8]["source"] = "cut.png"
    source = read(write(pairs.parent, *lines), 32)
    assert source[199].instruction == "pair 0"
    with pytest.raises(ConfigError, match="3 of 200 rows are bad") as error:
        source[7]
    assert [f"line {n}: " in str(error.value) for n in (8, 9, 200)] == [True] * 3
