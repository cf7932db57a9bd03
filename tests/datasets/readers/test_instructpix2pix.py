import json
import pickle

import pytest
from fabricate_archives import A, B, C, D, read_all
from fabricate_parquet import image, write

from jaxedit.config import ConfigError
from jaxedit.datasets.readers import instructpix2pix, open_published
from jaxedit.datasets.readers.example import Drop

TEXTS = {"input": "a lake", "edit": "make it winter", "output": "a frozen lake"}


def write_folder(directory, name, *, seeds=(("11", A, B),), texts=TEXTS):
    folder = directory / name
    folder.mkdir(parents=True)
    (folder / "prompt.json").write_text(texts if isinstance(texts, str) else json.dumps(texts))
    for seed, before, after in seeds:
        (folder / f"{seed}_0.jpg").write_bytes(before)
        (folder / f"{seed}_1.jpg").write_bytes(after)


def write_list(directory, *entries):
    # The last tenth is held out: further entries keep the given entries in the training split.
    rest = [[f"shard-09/{i}", ["1"]] for i in range(len(entries))]
    (directory / "seeds.json").write_text(json.dumps([*entries, *rest]))


def read_first(directory, count):
    return read_all(open_published("instructpix2pix", directory))[:count]


def test_folders(tmp_path):
    write_list(tmp_path, ["shard-00/0000017", ["11", 12]])
    (tmp_path / "shard-00.tar").write_bytes(b"left behind")
    write_folder(tmp_path, "shard-00/0000017", seeds=(("11", A, B), ("12", C, D)))
    first, second = read_first(tmp_path, 2)
    assert (first.key, first.source, first.target) == ("shard-00/0000017/11", A, B)
    assert (first.instruction, first.source_caption) == ("make it winter", "a lake")
    assert first.target_caption == "a frozen lake"
    assert (second.key, second.source, second.target) == ("shard-00/0000017/12", C, D)
    assert first.group == second.group == "shard-00/0000017"  # seeds of one prompt


def test_the_last_tenth_of_the_prompts_is_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(instructpix2pix, "_PROMPTS", 8)
    for i in range(20):
        write_folder(tmp_path, f"{i:02d}")
    (tmp_path / "seeds.json").write_text(json.dumps([[f"{i:02d}", ["11"]] for i in range(20)]))
    dataset = open_published("instructpix2pix", tmp_path)
    assert [len(part.entries) for part in dataset.parts()] == [8, 8, 2, 2]
    rows = read_all(dataset)
    assert [row.key for row in rows] == [f"{i:02d}/11" for i in range(20)]
    dropped = [row for row in rows if isinstance(row, Drop)]
    assert dropped == [Drop(f"{i}/11", "held out by the published split") for i in (18, 19)]


def test_rows_that_are_no_pairs(tmp_path):
    entries = [["a", ["11", "12"]], ["b", ["11"]], ["c", ["11"]], ["d", ["11"]], 3, ["e"]]
    write_list(tmp_path, *entries)
    write_folder(tmp_path, "a")
    write_folder(tmp_path, "b", texts="{")
    write_folder(tmp_path, "c", texts={**TEXTS, "edit": ""})
    assert read_first(tmp_path, 7)[1:] == [
        Drop("a/12", "source not found"),
        Drop("b/11", "prompt.json not found or damaged"),
        Drop("c/11", "empty instruction"),
        Drop("d/11", "prompt.json not found or damaged"),
        Drop("seeds.json/4", "damaged entry of seeds.json"),
        Drop("seeds.json/5", "damaged entry of seeds.json"),
    ]


def test_a_part_is_pickled_and_read_alone(tmp_path):
    write_list(tmp_path, ["a", ["11"]])
    write_folder(tmp_path, "a")
    dataset = open_published("instructpix2pix", tmp_path)
    copy, part = pickle.loads(pickle.dumps((dataset, dataset.parts()[0])))
    (row,) = copy.read(part)
    assert row.target == B


def test_the_hub_s_parquet_files(tmp_path):
    row = {
        "original_prompt": "a lake",
        "original_image": image(A),
        "edit_prompt": "make it winter",
        "edited_prompt": "a frozen lake",
        "edited_image": image(B),
    }
    shard = tmp_path / "data/train-00000-of-00001-0123456789abcdef.parquet"
    write(shard, [row, {**row, "edit_prompt": ""}], pictures=("original_image", "edited_image"))
    dataset = open_published("instructpix2pix", tmp_path)
    pair, bad = read_all(dataset)
    assert dataset.name == "instructpix2pix"
    assert (pair.source, pair.target, pair.instruction) == (A, B, "make it winter")
    assert (pair.source_caption, pair.target_caption) == ("a lake", "a frozen lake")
    assert bad.reason == "empty instruction"


def test_layouts_that_are_not_the_published_ones(tmp_path):
    with pytest.raises(ConfigError, match="expected seeds.json and folders of pictures, or data"):
        open_published("instructpix2pix", tmp_path)
    (tmp_path / "seeds.json").write_text("{")
    with pytest.raises(ConfigError, match="seeds.json: expected JSON"):
        open_published("instructpix2pix", tmp_path).parts()
    (tmp_path / "seeds.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"expected a list of \[folder, seeds\]"):
        open_published("instructpix2pix", tmp_path).parts()
