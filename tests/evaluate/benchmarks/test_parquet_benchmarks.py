"""Benchmarks in parquet files: EMU-Edit, GEdit-Bench, MultiGen-20M and COCO-Stuff."""

import io
import pickle

import numpy as np
import pytest
from fabricate_parquet import GREEN, RED, encode, image, write
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.data.pictures.canny import edge_map
from jaxedit.evaluate.benchmarks import emu_edit
from jaxedit.evaluate.sample import content


def emu_row(index, task="add", picture=RED):
    return {
        "instruction": f"add hat {index}",
        "image": image(picture),
        "task": task,
        "split": "test",
        "idx": index,
        "hash": f"{index:x}",
        "input_caption": "a dog",
        "output_caption": "a dog with a hat",
    }


def shard(directory, split, rows, pictures=("image",), name="00000-of-00001"):
    write(directory / f"data/{split}-{name}.parquet", rows, pictures=pictures)
    return directory


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(content(picture))).convert("RGB"))


def test_emu_edit_rows_are_samples_with_pictures_read_later(read, tmp_path):
    rows = [emu_row(i, picture=(RED, GREEN)[i % 2]) for i in range(5)]
    shard(tmp_path, "test", rows[:3], name="00000-of-00002")
    shard(tmp_path, "test", rows[3:], name="00001-of-00002")
    benchmark = read("emu-edit", tmp_path)
    samples = pickle.loads(pickle.dumps(benchmark.samples))
    assert [sample.key for sample in samples] == ["0", "1", "2", "3", "4"]
    assert [content(sample.source) for sample in samples] == [RED, GREEN, RED, GREEN, RED]
    first = samples[0]
    assert (first.source_prompt, first.target_prompt) == ("a dog", "a dog with a hat")
    assert (first.type, first.instruction, first.target) == ("add", "add hat 0", None)


def test_emu_edit_s_split_is_chosen_by_its_rows(read, tmp_path, monkeypatch, caplog):
    shard(tmp_path, "test", [emu_row(7)])
    shard(tmp_path, "validation", [emu_row(8), emu_row(9)])
    assert [sample.key for sample in read("emu-edit", tmp_path).samples] == ["7"]
    assert "1 edits; papers report 3589" in caplog.text
    monkeypatch.setattr(emu_edit, "_COUNT", 2)
    assert len(read("emu-edit", tmp_path).samples) == 2


def test_files_and_columns_that_are_missing_are_named(read, tmp_path):
    with pytest.raises(ConfigError, match=r"expected data/test-00000-of-NNNNN.parquet"):
        read("emu-edit", tmp_path)
    row = emu_row(0)
    del row["output_caption"]
    shard(tmp_path, "test", [row], name="00000-of-00002")
    with pytest.raises(ConfigError, match="test-00000-of-00002.*expected a column output_caption"):
        read("emu-edit", tmp_path)
    shard(tmp_path, "test", [emu_row(0)], name="00000-of-00002")
    with pytest.raises(ConfigError, match="test-00001-of-00002.parquet: no such file"):
        read("emu-edit", tmp_path)


def test_an_empty_cell_is_named_when_it_is_read(read, tmp_path):
    shard(tmp_path, "test", [emu_row(0), emu_row(1), emu_row(2, picture=None)])
    samples = read("emu-edit", tmp_path).samples
    with pytest.raises(ValueError, match="row group 1, row 0: expected a picture in image"):
        content(samples[2].source)


def gedit_row(key, kind="text_change", lang="en"):
    return {
        "task_type": kind,
        "key": key,
        "instruction": f"edit {key}",
        "instruction_language": lang,
        "input_image": image(RED),
        "input_image_raw": image(GREEN),
        "Intersection_exist": True,
    }


def test_gedit_bench_has_two_languages_and_its_own_folders(read, tmp_path):
    pictures = ("input_image", "input_image_raw")
    rows = [gedit_row("a"), gedit_row("b", lang="cn"), gedit_row("c", "ps_human")]
    shard(tmp_path, "train", rows, pictures)
    benchmark = read("gedit-bench", tmp_path)
    keys = [sample.key for sample in benchmark.samples]
    assert keys == ["fullset/text_change/en/a", "fullset/ps_human/en/c"]
    assert benchmark.average == "types" and content(benchmark.samples[0].source) == RED
    (sample,) = read("gedit-bench", tmp_path, lang="cn").samples
    assert sample.key == "fullset/text_change/cn/b"
    with pytest.raises(ConfigError, match="lang=de: expected en or cn"):
        read("gedit-bench", tmp_path, lang="de")


@pytest.mark.parametrize("rows", [[gedit_row("../x")], [gedit_row("a"), gedit_row("a")]])
def test_keys_that_cannot_name_files_are_refused(read, tmp_path, rows):
    shard(tmp_path, "train", rows, ("input_image", "input_image_raw"))
    with pytest.raises(ConfigError, match="key 'fullset/text_change/en/"):
        read("gedit-bench", tmp_path)


def test_depth_maps_are_squared_conditions_and_whole_labels(read, tmp_path):
    depth = encode((9, 9, 9))
    row = {"image": image(GREEN), "control_depth": image(depth), "text": "a dog"}
    shard(tmp_path, "validation", [row], ("image", "control_depth"))
    benchmark = read("multigen-depth", tmp_path)
    (sample,) = benchmark.samples
    source = pixels(sample.source)
    assert source.shape == (512, 512, 3) and (source == 9).all()
    assert content(sample.labels) == depth and content(sample.target) == GREEN
    assert (sample.key, sample.task, sample.instruction) == ("0", "depth", "a dog")
    assert benchmark.size == (512, 512)


def test_edges_are_those_of_the_squared_photograph(read, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    photo = Image.fromarray(noise)
    file = io.BytesIO()
    photo.save(file, "PNG")
    shard(tmp_path, "validation", [{"image": image(file.getvalue()), "text": "noise"}])
    (sample,) = read("multigen-canny", tmp_path).samples
    squared = np.asarray(photo.resize((512, 512), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels(sample.source), edge_map(squared))
    assert sample.labels is None and sample.task == "canny"


@pytest.mark.parametrize("as_lists", [True, False])
def test_labels_are_pictures_or_lists(read, tmp_path, as_lists):
    classes = np.arange(24 * 16, dtype=np.uint8).reshape(16, 24)
    file = io.BytesIO()
    Image.fromarray(classes).save(file, "PNG")
    row = {
        "image": image(GREEN),
        "prompt": ["", "a dog on grass"],
        "control_seg": image(RED),
        "panoptic_seg_map": classes.tolist() if as_lists else image(file.getvalue()),
    }
    pictures = ("image", "control_seg") + (() if as_lists else ("panoptic_seg_map",))
    shard(tmp_path, "validation", [row], pictures)
    (sample,) = read("coco-stuff", tmp_path).samples
    labels = np.asarray(Image.open(io.BytesIO(content(sample.labels))))
    np.testing.assert_array_equal(labels, classes)
    assert (sample.task, sample.instruction) == ("segmentation", "a dog on grass")


def test_pictures_of_other_programs_lie_in_groups(read, tmp_path):
    shard(tmp_path, "validation", [{"image": image(GREEN), "text": "x"}])
    benchmark = read("multigen-canny", tmp_path, group=2)
    (sample,) = benchmark.samples
    assert benchmark.find_edit(tmp_path, sample) is None
    (tmp_path / "0.png").touch()
    assert benchmark.find_edit(tmp_path, sample) == tmp_path / "0.png"
    path = tmp_path / "images/group_2/0.png"
    path.parent.mkdir(parents=True)
    path.touch()
    assert benchmark.find_edit(tmp_path, sample) == path
