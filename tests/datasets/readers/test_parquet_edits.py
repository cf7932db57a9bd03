"""MagicBrush, OmniEdit, UltraEdit and AnyEdit in their published layouts."""

import io

import numpy as np
import pytest
from fabricate_parquet import (
    GREEN,
    RED,
    WHITE,
    anyedit_row,
    encode,
    image,
    magicbrush_row,
    omniedit_row,
    write,
)
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.datasets.readers.parquet_edits import (
    AnyEdit,
    MagicBrush,
    OmniEdit,
    UltraEdit,
    white_mask,
)

SHARD = "data/train-00000-of-00001.parquet"


def read_all(dataset):
    return [x for part in dataset.parts() for x in dataset.read(part)]


def cut_out(mode, colour, hole):
    """Return a picture whose top left quarter is transparent or black."""
    picture = Image.new(mode, (8, 4), colour)
    picture.paste(hole, (0, 0, 4, 2))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def decode(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_magicbrush_turns_chain_and_stay_together(tmp_path):
    mask = cut_out("RGBA", (250, 250, 250, 255), (0, 0, 0, 0))
    rows = [magicbrush_row(turn, mask) for turn in (1, 2)]
    write(tmp_path / SHARD, rows, pictures=("source_img", "mask_img", "target_img"))
    first, second = read_all(MagicBrush(tmp_path))
    assert (first.turn, second.turn) == (1, 2) and first.group == second.group == "242679"
    assert first.source == RED and first.target == second.source == GREEN and second.target == RED
    assert decode(first.mask).sum() == 255 * 8


@pytest.mark.parametrize(
    "published",
    [cut_out("RGBA", (250, 250, 250, 255), (9, 9, 9, 0)), cut_out("RGB", (250, 250, 250), 0)],
    ids=["transparent", "black"],
)
def test_magicbrush_masks_become_white_where_the_picture_is_cut_out(published):
    mask = decode(white_mask(published))
    expected = np.zeros((4, 8), np.uint8)
    expected[:2, :4] = 255
    np.testing.assert_array_equal(mask, expected)


def test_magicbrush_masks_that_mark_nothing_or_cannot_be_read():
    assert white_mask(encode((250, 250, 250, 255), "RGBA")) is None
    assert white_mask(b"not a picture") == b"not a picture"


def test_omniedit_takes_one_wording_the_same_every_time(tmp_path):
    wordings = ("Add a hat", "", "Put a hat on it")
    rows = [omniedit_row(wordings) for _ in range(20)] + [omniedit_row(("", " ")), omniedit_row(())]
    write(tmp_path / SHARD, rows, pictures=("src_img", "edited_img"))
    write(tmp_path / "data/dev-00000-of-00001.parquet", rows[:1])
    *good, blank, none = read_all(OmniEdit(tmp_path))
    assert len(good) == 20 and {x.instruction for x in good} == {"Add a hat", "Put a hat on it"}
    assert good == read_all(OmniEdit(tmp_path))[:20]
    assert blank.reason == none.reason == "empty instruction"


def test_omniedit_tasks_and_scores(tmp_path):
    kinds = [
        ("swap", 9.0),
        ("addition", 8.5),
        ("removal", None),
        ("style", float("nan")),
        ("env", 7),
    ]
    rows = [omniedit_row(task=task, score=score) for task, score in kinds]
    write(tmp_path / SHARD, rows, pictures=("src_img", "edited_img"))
    result = read_all(OmniEdit(tmp_path))
    assert [x.edit_type for x in result] == [1, 2, 3, 9, -1]
    assert [x.edit_type_raw for x in result] == [task for task, _ in kinds]
    assert [x.score for x in result] == [9, 8.5, -1, -1, 7]


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("source_image", "edited_image", "edit_prompt"),
        ("input_image", "target_image", "edit_instruction"),
    ],
)
def test_ultraedit_finds_its_columns(tmp_path, source, target, words):
    row = {source: image(RED), target: image(GREEN), words: "make it green", "clip_sim": 0.9}
    region = {**row, "mask_image": image(WHITE), "source_caption": "red", "target_caption": "green"}
    pictures = (source, target, "mask_image")
    write(tmp_path / "data/FreeForm_0-00000-of-00001.parquet", [row], pictures=pictures)
    write(tmp_path / "data/FreeForm_10-00000-of-00002.parquet", [row], pictures=pictures)
    write(tmp_path / "data/RegionBase-00000-of-00001.parquet", [region], pictures=pictures)
    free, other, absent, local = read_all(UltraEdit(tmp_path))
    assert absent.key == "FreeForm_10-00001-of-00002" and absent.reason == "file missing"
    assert free._replace(key="") == other._replace(key="") and free.key != other.key
    assert (free.source, free.target, free.instruction) == (RED, GREEN, "make it green")
    assert (free.mask, free.source_caption, free.target_caption) == (None, "", "")
    assert (local.mask, local.source_caption, local.target_caption) == (WHITE, "red", "green")


def test_ultraedit_says_which_columns_it_looked_for(tmp_path):
    write(
        tmp_path / SHARD, [{"before": image(RED), "edited_image": image(RED), "edit_prompt": "go"}]
    )
    with pytest.raises(
        ConfigError, match="ultraedit: expected a column source_image or .* or image, found be"
    ):
        UltraEdit(tmp_path)


def test_anyedit_drops_rows_with_a_second_input(tmp_path):
    rows = [
        anyedit_row(),
        anyedit_row(second=image(RED)),
        anyedit_row("visual_depth"),
        anyedit_row("counting", ""),
    ]
    pictures = ("image_file", "edited_file", "visual_input")
    write(tmp_path / "data/train-00005-of-00006.parquet", rows, pictures=pictures)
    dataset = AnyEdit(tmp_path)
    kept, *drops = [x for part in dataset.parts()[-2:] for x in dataset.read(part)]
    assert (kept.source, kept.target, kept.instruction) == (GREEN, RED, "make it red")
    assert (kept.edit_type, kept.edit_type_raw) == (6, "color_alter")
    assert (kept.source_caption, kept.target_caption) == ("a green thing", "a red thing")
    assert [x.reason for x in drops] == ["several inputs", "several inputs", "empty instruction"]


def test_anyedit_second_inputs_as_texts_and_the_older_name_of_instructions(tmp_path):
    rows = [anyedit_row("tone_transfer", second="None"), anyedit_row(second="ref/1.jpg")]
    rows = [{"edit" if k == "edit_instruction" else k: v for k, v in x.items()} for x in rows]
    write(tmp_path / SHARD, rows, pictures=("image_file", "edited_file"))
    kept, dropped = read_all(AnyEdit(tmp_path))
    assert kept.instruction == "make it red" and kept.edit_type == -1
    assert dropped.reason == "several inputs"
