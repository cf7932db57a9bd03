import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fabricate_archives import A, B, C, D, read_all, write_parquet, write_split

from jaxedit.config import ConfigError
from jaxedit.datasets.readers import imgedit, open_published
from jaxedit.datasets.readers.example import Drop
from jaxedit.datasets.readers.imgedit import archive_names

# The published parquet files of single turns and the archives of their pictures.
PUBLISHED = {
    "action_part1": "action_part1",
    "add_part0": "results_add_laion_part0",
    "adjust_canny_part2": "results_adjust_canny_laion_part2",
    "background_part7": "results_background_laion_part7",
    "hybrid_part6": "results_hybrid_part6",
    "compose_part6": "results_hybrid_part6",
    "reference_extract_part1": "results_extract_and_visualedit_part1",
    "reference_replace_part7": "results_extract_and_visualedit_part7",
    "remove_part0": "results_remove_part0",
    "remove_part1": "results_remove_laion_part1",
    "replace_part0": "results_replace_part0",
    "replace_part4": "results_replace_laion_part4",
    "style_transfer": "results_style_transfer",
    "style_transfer_part0": "results_style_transfer_part0",
}


def row(folder, prompt="Edit it"):
    return [f"{folder}/original.png"], [f"{folder}/result.png"], prompt


def files(folder, source=A, target=B):
    return {f"{folder}/original.png": source, f"{folder}/result.png": target}


@pytest.fixture
def add(tmp_path):
    folder = "results_add_laion_part0/00049_00040"
    write_parquet(tmp_path, "add_part0", row(folder, "Add a hat."))
    write_split(tmp_path / "Singleturn", "results_add_laion_part0", files(folder))
    return tmp_path


def test_a_pair(add):
    dataset = open_published("imgedit", add)
    (pair,) = read_all(dataset)
    assert (pair.key, pair.source, pair.target) == ("add_part0/0", A, B)
    assert (pair.instruction, pair.group) == ("Add a hat.", "00049_00040")
    assert (pair.edit_type, pair.edit_type_raw) == (2, "add_part0")
    assert (dataset.name, dataset.keeps_labels) == ("imgedit", False)
    assert not list((add / "unpacked").glob("*.tar"))  # pictures are read where they lie


@pytest.mark.parametrize(("stem", "archive"), PUBLISHED.items())
def test_every_kind_of_file_finds_its_archive(stem, archive):
    assert archive in archive_names(stem)
    others = set(PUBLISHED.values()) - {archive}
    assert not others & set(archive_names(stem))


@pytest.mark.parametrize(
    ("stem", "archive", "path", "member"),
    [
        (
            "hybrid_part0",
            "results_hybrid_part0",
            "results_compose_part0/7",
            "results_hybrid_part0/7",
        ),
        ("hybrid_part6", "results_hybrid_part6", "results_compose_part6_fix/7", None),
        ("replace_part0", "results_replace_part0", "replace/7", "results/7"),
        ("adjust_canny_part2", "results_adjust_canny_laion_part2", "results_adjust/7", "./7"),
        ("reference_extract_part1", "results_extract_and_visualedit_part1", "results_ref/7", None),
    ],
)
def test_paths_and_archives_that_disagree(tmp_path, stem, archive, path, member):
    inside = member or path
    write_parquet(tmp_path, stem, row(path))
    write_split(
        tmp_path / "Singleturn", archive, {**files(inside), **files(f"{inside[:-1]}8", C, D)}
    )
    (pair,) = read_all(open_published("imgedit", tmp_path))
    assert (pair.source, pair.target) == (A, B)


def test_actions_are_named_without_their_folder(tmp_path):
    write_parquet(tmp_path, "action_part1", (["a_frame_1.png"], ["a_frame_9.png"], "Sit down."))
    members = {"part1/a_frame_1.png": A, "part1/a_frame_9.png": B}
    write_split(tmp_path / "Singleturn", "action_part1", members)
    (pair,) = read_all(open_published("imgedit", tmp_path))
    assert (pair.source, pair.target, pair.edit_type, pair.group) == (A, B, 5, "")


def test_folders_of_one_name_in_two_archives(tmp_path):
    write_parquet(tmp_path, "add_part0", row("results_add_laion_part0/7"))
    write_parquet(tmp_path, "remove_part0", row("results_remove/7"))
    singleturn = tmp_path / "Singleturn"
    write_split(singleturn, "results_add_laion_part0", files("results_add_laion_part0/7"))
    write_split(singleturn, "results_remove_part0", files("results_remove/7", C, D))
    first, second = read_all(open_published("imgedit", tmp_path))
    assert (first.source, first.target, second.source, second.target) == (A, B, C, D)
    assert first.group == second.group == "7"  # edits of one photo


@pytest.mark.parametrize(
    ("stem", "path", "folder"),
    [
        ("add_part0", "results_add_laion_part0/7", "results_add_laion_part0/7"),
        ("hybrid_part0", "results_compose_part0/7", "results_hybrid_part0/7"),
        ("replace_part0", "replace/7", "results/7"),
        ("adjust_canny_part2", "x/7", "results_adjust_canny_laion_part2/7"),
    ],
)
def test_archives_that_were_unpacked(tmp_path, stem, path, folder):
    write_parquet(tmp_path, stem, row(path))
    for name, content in files(folder).items():
        file = tmp_path / "Singleturn" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (pair,) = read_all(open_published("imgedit", tmp_path))
    assert (pair.source, pair.target) == (A, B)


def test_unpacked_actions(tmp_path):
    write_parquet(tmp_path, "action_part2", (["1.png"], ["2.png"], "Sit."))
    for part, contents in (("part1", (C, D)), ("part2", (A, B))):
        (tmp_path / "Singleturn" / part).mkdir(parents=True)
        for name, content in zip(("1.png", "2.png"), contents, strict=True):
            (tmp_path / "Singleturn" / part / name).write_bytes(content)
    (pair,) = read_all(open_published("imgedit", tmp_path))
    assert (pair.source, pair.target) == (A, B)


def test_rows_that_are_no_pairs(tmp_path):
    inputs, outputs, prompt = row("results_remove/7")
    write_parquet(
        tmp_path,
        "remove_part0",
        (inputs * 2, outputs, prompt),
        (inputs, outputs * 2, prompt),
        ([], outputs, prompt),
        (inputs, None, prompt),
        (inputs, outputs, None),
        row("results_remove/8"),
        row("results_remove/7"),
    )
    write_split(tmp_path / "Singleturn", "results_remove_part0", files("results_remove/7"))
    *drops, pair = read_all(open_published("imgedit", tmp_path))
    assert [drop.reason for drop in drops] == [
        "several inputs",
        "several outputs",
        "no source named",
        "no target named",
        "empty instruction",
        "source not found",
    ]
    assert pair.edit_type == 3


def test_references_with_several_inputs(add):
    source, target = "results_extract_ref_part1/7/origin_0.png", "results_extract_ref_part1/7/r.png"
    write_parquet(add, "reference_replace_part1", ([source, target], [target], "Use this."))
    assert read_all(open_published("imgedit", add))[1] == Drop(
        "reference_replace_part1/0", "several inputs"
    )


def test_conversations_are_not_cut_into_pairs(add):
    turn = {"input_images": ["a/0.png"], "output_images": ["a/1.png"], "prompt": "Add a cat."}
    table = pa.table({"data": [[turn, turn], [turn]]})
    pq.write_table(table, add / "Parquet/version_backtracking_part0.parquet")
    _, *drops = read_all(open_published("imgedit", add))
    name = "version_backtracking_part0"
    assert drops == [Drop(f"{name}/{i}", "several turns") for i in range(2)]


def test_archives_may_be_missing(add):
    write_parquet(add, "remove_part1", row("results_remove_laion_part1/7"))
    dataset = open_published("imgedit", add)
    pair, lost = read_all(dataset)
    assert pair.target == B
    assert lost == Drop("remove_part1/0", "source not found, nor its archive")
    write_split(
        add / "Singleturn",
        "results_remove_laion_part1",
        files("results_remove_laion_part1/7", C, D),
    )
    again = open_published("imgedit", add)
    assert [row.target for row in read_all(again)] == [B, D]
    assert again.parts() != dataset.parts()  # so that a conversion begins again


def test_an_archive_that_is_cut_short(tmp_path):
    members = {**files("results_remove/1"), **files("results_remove/2", C, bytes(20_000))}
    write_parquet(tmp_path, "remove_part0", row("results_remove/1"), row("results_remove/2"))
    write_split(tmp_path / "Singleturn", "results_remove_part0", members)
    (tmp_path / "Singleturn/results_remove_part0.tar.split.002").unlink()
    pair, lost = read_all(open_published("imgedit", tmp_path))
    assert pair.target == B
    assert lost.reason == "target not in what is left of an archive"


def test_a_damaged_parquet_file_is_named_and_the_others_are_read(add):
    (add / "Parquet/remove_part0.parquet").write_bytes(b"PAR1 cut short")
    dataset = open_published("imgedit", add)
    good, bad = dataset.parts()
    assert len(list(dataset.read(good))) == 1
    with pytest.raises(ValueError, match="remove_part0.parquet: "):
        list(dataset.read(bad))


def test_a_text_that_is_not_unicode_costs_its_row(add):
    path = add / "Parquet/add_part0.parquet"
    table = pq.read_table(path)
    texts = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xffx")
    )
    two = pa.concat_tables([table, table]).set_column(2, "prompt", texts)
    pq.write_table(two, path)
    bad, good = read_all(open_published("imgedit", add))
    assert bad == Drop("add_part0/0", "unreadable row") and good.instruction == "x"


def test_other_columns(add):
    pq.write_table(pa.table({"image": ["a"]}), add / "Parquet/x.parquet")
    dataset = open_published("imgedit", add)
    with pytest.raises(ValueError, match="x.parquet: expected columns input_images, output_images"):
        list(dataset.read(dataset.parts()[1]))


def test_parts_are_pickled_and_read_alone(add, monkeypatch):
    monkeypatch.setattr(imgedit, "_ROWS", 2)
    folder = "results_add_laion_part0/00049_00040"
    write_parquet(add, "add_part0", *(row(folder, f"edit {i}") for i in range(5)))
    dataset = open_published("imgedit", add)
    parts = dataset.parts()
    assert [(part.first, part.count) for part in parts] == [(0, 2), (2, 2), (4, 1)]
    copy, part = pickle.loads(pickle.dumps((dataset, parts[1])))
    assert [(x.key, x.instruction) for x in copy.read(part)] == [
        ("add_part0/2", "edit 2"),
        ("add_part0/3", "edit 3"),
    ]


def test_layouts_that_are_not_the_published_one(tmp_path):
    with pytest.raises(ConfigError, match="Parquet: no such folder: expected Parquet"):
        open_published("imgedit", tmp_path)
    (tmp_path / "Parquet").mkdir()
    with pytest.raises(ConfigError, match="Singleturn: no such folder"):
        open_published("imgedit", tmp_path)
    (tmp_path / "Singleturn").mkdir()
    with pytest.raises(ConfigError, match="Parquet: no parquet files"):
        open_published("imgedit", tmp_path)
    write_parquet(tmp_path, "add_part0", row("a/7"))
    with pytest.raises(ConfigError, match="Singleturn: no archives"):
        open_published("imgedit", tmp_path)
    write_split(tmp_path / "Singleturn", "results_add_laion_part0", files("a/7"))
    (tmp_path / "Singleturn/results_add_laion_part0.tar.split.001").unlink()
    with pytest.raises(ConfigError, match="results_add_laion_part0.tar.split.001 is missing"):
        open_published("imgedit", tmp_path)
