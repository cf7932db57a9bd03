import pickle

import numpy as np
import pytest
from fabricate_archives import A, B, C, D, read_all, write_gz, write_lines

from jaxedit.config import ConfigError
from jaxedit.datasets.readers import open_published, seed
from jaxedit.datasets.readers.example import Drop, Example

ROW = {"source_image": "s/1.jpg", "target_image": "t/1.jpg", "instruction": "Add a lake."}
TURNS = {
    "source_image": "batch/1/0.png",
    "instruction_1": "add a hat",
    "edit_image_1": "batch/1/1.png",
    "instruction_2": "make it red",
    "edit_image_2": "batch/1/2.png",
    "instruction_3": "remove the dog",
    "edit_image_3": "batch/1/3.png",
}
FRAMES = {f"batch/1/{i}.png": content for i, content in enumerate((A, B, C, D))}


def unsplash(directory, *rows, files=None):
    root = directory / "auto_editing/unsplash"
    write_lines(root / "annotations", *(rows or [ROW]))
    write_gz(root / "images", "unsplash_images", files or {"s/1.jpg": A, "t/1.jpg": B})
    return directory


def multiturn(directory, *rows, files=FRAMES):
    root = directory / "multi_turn_editing"
    write_lines(root / "annotations", *rows)
    write_gz(root / "images", "multi_turn", files)
    return open_published("seed-multiturn", directory)


def test_unsplash_with_captions(tmp_path):
    captions = {"source_caption": "a field", "target_caption": "a field with a lake"}
    dataset = open_published("seed-unsplash", unsplash(tmp_path, {**ROW, **captions}))
    assert (dataset.name, dataset.keeps_labels) == ("seed-unsplash", False)
    assert read_all(dataset) == [
        Example(
            "split_0/1",
            A,
            B,
            "Add a lake.",
            group="s/1.jpg",
            source_caption="a field",
            target_caption="a field with a lake",
        )
    ]


def test_open_images_has_archives_of_sources_and_of_targets(tmp_path):
    root = tmp_path / "auto_editing/openimages"
    row = {**ROW, "source_image": "source_images/1.jpg", "target_image": "target_images/1.jpg"}
    other = {**row, "target_image": "target_images/2.jpg", "instruction": "remove it"}
    lost = {**row, "target_image": "target_images/3.jpg"}
    write_lines(root / "annotations", row, other, lost)
    write_gz(root / "images", "source_images", {"source_images/1.jpg": A, "source_images/3.jpg": D})
    targets = {"target_images/1.jpg": B, "target_images/2.jpg": C}
    write_gz(root / "images", "target_images", targets)
    rows = read_all(open_published("seed-openimages", tmp_path))
    assert [(row.source, row.target) for row in rows[:2]] == [(A, B), (A, C)]
    assert {row.group for row in rows[:2]} == {"source_images/1.jpg"}  # one photo, many edits
    # The archive of sources has a 3.jpg too, which is not the target.
    assert rows[2] == Drop("split_0/3", "target not found")


def test_reworded_annotations_are_not_read_again(tmp_path):
    unsplash(tmp_path)
    reworded = {**ROW, "instruction": "Place a lake in the valley."}
    write_lines(tmp_path / "auto_editing/unsplash/annotations_GPT4V", reworded)
    (row,) = read_all(open_published("seed-unsplash", tmp_path))
    assert row.instruction == "Add a lake."


def test_real_edits_as_plain_files(tmp_path):
    root = tmp_path / "real_editing"
    write_lines(root / "annotations", ROW)
    for name, content in (("s/1.jpg", A), ("t/1.jpg", B)):
        (root / "images" / name).parent.mkdir(parents=True)
        (root / "images" / name).write_bytes(content)
    dataset = open_published("seed-real", tmp_path)
    (row,) = read_all(dataset)
    assert (row.source, row.target, row.instruction) == (A, B, "Add a lake.")
    assert not (tmp_path / "unpacked").exists()


def test_conversations_become_pairs_of_neighbours(tmp_path):
    rows = read_all(
        multiturn(tmp_path, TURNS, {**TURNS, "edit_image_3": None, "instruction_3": ""})
    )
    assert [(row.source, row.target, row.instruction) for row in rows] == [
        (A, B, "add a hat"),
        (B, C, "make it red"),
        (C, D, "remove the dog"),
        (A, B, "add a hat"),
        (B, C, "make it red"),
    ]
    assert [row.key for row in rows[:3]] == ["split_0/1/1", "split_0/1/2", "split_0/1/3"]
    assert [row.turn for row in rows] == [1, 2, 3, 1, 2]
    assert [row.group for row in rows] == ["split_0/1"] * 3 + ["split_0/2"] * 2


def test_a_lost_picture_costs_the_two_pairs_beside_it(tmp_path):
    files = {name: content for name, content in FRAMES.items() if name != "batch/1/1.png"}
    first, second, third = read_all(multiturn(tmp_path, TURNS, files=files))
    assert first == Drop("split_0/1/1", "target not found")
    assert second == Drop("split_0/1/2", "source not found")
    assert (third.source, third.target, third.turn) == (C, D, 3)


def test_a_turn_without_instruction_costs_itself(tmp_path):
    first, second, third = read_all(multiturn(tmp_path, {**TURNS, "instruction_2": " "}))
    assert second == Drop("split_0/1/2", "empty instruction")
    assert (first.turn, third.turn) == (1, 3)


def test_conversations_known_to_be_corrupt(tmp_path):
    def moved(number):
        old, new = "batch/1/", f"20240330_315P_1323turns/Data/{number}/"
        return {name: value.replace(old, new) for name, value in TURNS.items()}

    rows = read_all(multiturn(tmp_path, moved(208), moved(212), moved(213), moved(2080)))
    reasons = [row.reason for row in rows]
    assert reasons[:6] == ["known to be corrupt"] * 6
    assert set(reasons[6:]) == {"source not found"}


def test_a_conversation_without_turns(tmp_path):
    (row,) = read_all(multiturn(tmp_path, {"source_image": "batch/1/0.png"}))
    assert row == Drop("split_0/1", "no turns")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "damaged line"),
        ("[1]", "damaged line"),
        ("[" * 100_000, "damaged line"),
        ('{"source_image": "s/1.jpg"}', "no target named"),
        ({**ROW, "source_image": 3}, "no source named"),
        ({**ROW, "instruction": " "}, "empty instruction"),
        ({**ROW, "instruction": None}, "empty instruction"),
        ({**ROW, "source_image": "s/2.jpg"}, "source not found"),
        ({**ROW, "target_image": "t"}, "target not found"),
        ({**ROW, "target_image": "x" * 999}, "target not found"),
        ({**ROW, "target_image": "a\0b"}, "target not found"),
        ({**ROW, "source_image": "../annotations/split_0.jsonl"}, "source not found"),
        ({**ROW, "source_image": "/etc/passwd"}, "source not found"),
        ({**ROW, "instruction": "half a \ud83d"}, "text is not Unicode"),
    ],
)
def test_rows_that_are_no_pairs(tmp_path, line, reason):
    first, bad, last = read_all(open_published("seed-unsplash", unsplash(tmp_path, ROW, line, ROW)))
    assert bad == Drop("split_0/2", reason)
    assert isinstance(first, Example) and isinstance(last, Example)


def test_rows_of_an_archive_that_is_cut_short(tmp_path):
    noise = np.random.default_rng(0).bytes(50_000)  # does not compress
    files = {"s/1.jpg": A, "t/1.jpg": B, "z.jpg": noise}
    unsplash(tmp_path, ROW, {**ROW, "target_image": "z.jpg"}, files=files)
    last = tmp_path / "auto_editing/unsplash/images/unsplash_images.tar.gz.part-ac"
    last.write_bytes(last.read_bytes()[:-2000])
    pair, lost = read_all(open_published("seed-unsplash", tmp_path))
    assert pair.target == B
    assert lost == Drop("split_0/2", "target not in what is left of an archive")


def test_parts_are_pickled_and_read_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(seed, "_ROWS", 2)
    rows = [{**ROW, "instruction": f"edit {i} é"} for i in range(5)]
    unsplash(tmp_path, *rows[:2], "", *rows[2:])
    write_lines(tmp_path / "auto_editing/unsplash/annotations", ROW, name="split_1.jsonl")
    dataset = open_published("seed-unsplash", tmp_path)
    parts = dataset.parts()
    assert [(part.file, part.first, part.count) for part in parts] == [
        ("split_0.jsonl", 1, 2),
        ("split_0.jsonl", 3, 2),
        ("split_0.jsonl", 5, 2),
        ("split_1.jsonl", 1, 1),
    ]
    copy, part = pickle.loads(pickle.dumps((dataset, parts[1])))
    (row,) = copy.read(part)
    assert (row.key, row.instruction) == ("split_0/4", "edit 2 é")
    assert [row.instruction for row in read_all(copy)] == [
        *(f"edit {i} é" for i in range(5)),
        "Add a lake.",
    ]


def test_parts_change_when_a_download_goes_on(tmp_path):
    unsplash(tmp_path)
    dataset = open_published("seed-unsplash", tmp_path)
    assert dataset.parts() == open_published("seed-unsplash", tmp_path).parts()
    more = {"s/1.jpg": A, "t/1.jpg": B, "t/2.jpg": C}
    write_gz(tmp_path / "auto_editing/unsplash/images", "unsplash_images", more)
    assert open_published("seed-unsplash", tmp_path).parts() != dataset.parts()


def test_a_folder_that_the_archive_put_around_everything(tmp_path):
    files = {f"data/{name}": content for name, content in FRAMES.items()}
    packed = multiturn(tmp_path / "packed", TURNS, files=files)
    assert [row.target for row in read_all(packed)] == [B, C, D]
    root = tmp_path / "unpacked/multi_turn_editing"
    write_lines(root / "annotations", TURNS)
    for name, content in files.items():
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(content)
    unpacked = open_published("seed-multiturn", tmp_path / "unpacked")
    assert [row.target for row in read_all(unpacked)] == [B, C, D]


def test_layouts_that_are_not_the_published_one(tmp_path):
    with pytest.raises(ConfigError, match="unsplash/annotations: no such folder: .*Part1-Unsplash"):
        open_published("seed-unsplash", tmp_path)
    root = tmp_path / "auto_editing/unsplash"
    (root / "annotations").mkdir(parents=True)
    with pytest.raises(ConfigError, match="unsplash/images: no such folder"):
        open_published("seed-unsplash", tmp_path)
    (root / "images").mkdir()
    with pytest.raises(ConfigError, match=r"annotations: no \*.jsonl"):
        open_published("seed-unsplash", tmp_path)
    write_lines(root / "annotations", ROW)
    with pytest.raises(ConfigError, match="images: no pictures and no archives"):
        open_published("seed-unsplash", tmp_path)


def test_a_scratch_folder_elsewhere(tmp_path):
    source, scratch = unsplash(tmp_path / "source"), tmp_path / "scratch"
    assert len(read_all(open_published("seed-unsplash", source, scratch))) == 1
    assert not (source / "unpacked").exists() and list(scratch.glob("*.tar"))
    with pytest.raises(ConfigError, match="--scratch=.*: magicbrush has no archives to unpack"):
        open_published("magicbrush", source, scratch)
