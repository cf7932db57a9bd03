import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fabricate_parquet import GREEN, PICTURE, RED, image, omniedit_row, write

from jaxedit.config import ConfigError
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_edits import OmniEdit
from jaxedit.datasets.readers.parquet_files import ParquetSet, Piece, find_files, picture, text
from jaxedit.datasets.readers.parquet_maps import MultiGenDepth

PICTURES = ("image", "control_depth")


def row(caption="a dog", depth=RED, target=GREEN):
    return {"image": image(target), "control_depth": image(depth), "text": caption}


def write_depth(directory, *shards, **options):
    for i, rows in enumerate(shards):
        name = f"data/train-{i:05d}-of-{len(shards):05d}.parquet"
        write(directory / name, rows, pictures=PICTURES, **options)
    return directory


def read_all(dataset: ParquetSet):
    return [x for part in dataset.parts() for x in dataset.read(part)]


def test_rows_of_all_shards_in_order(tmp_path):
    write_depth(tmp_path, [row("one"), row("two"), row("three")], [row("four")])
    dataset = MultiGenDepth(tmp_path)
    assert dataset.parts() == [
        Piece("train-00000-of-00002.parquet", 0),
        Piece("train-00000-of-00002.parquet", 1),
        Piece("train-00001-of-00002.parquet", 0),
    ]
    rows = read_all(dataset)
    assert [x.instruction for x in rows] == ["one", "two", "three", "four"]
    assert [x.key for x in rows] == [
        "train-00000-of-00002/0",
        "train-00000-of-00002/1",
        "train-00000-of-00002/2",
        "train-00001-of-00002/0",
    ]
    assert rows[0].source == RED and rows[0].target == GREEN and rows[0].mask is None


def test_workers_get_copies_that_read_the_same(tmp_path):
    dataset = MultiGenDepth(write_depth(tmp_path, [row("one"), row("two"), row("three")]))
    copy, parts = pickle.loads(pickle.dumps((dataset, dataset.parts())))
    assert [list(copy.read(x)) for x in parts] == [list(dataset.read(x)) for x in dataset.parts()]


def test_bad_rows_are_dropped_and_the_others_read(tmp_path):
    rows = [row(""), row(" \n"), row(None), row(depth=None), row(target=b""), row("good")]
    drops = read_all(MultiGenDepth(write_depth(tmp_path, rows)))
    assert isinstance(drops.pop(), Example)
    key = "train-00000-of-00001"
    assert drops == [
        Drop(f"{key}/0", "empty instruction"),
        Drop(f"{key}/1", "empty instruction"),
        Drop(f"{key}/2", "empty instruction"),
        Drop(f"{key}/3", "source not found"),
        Drop(f"{key}/4", "target not found"),
    ]


def test_a_text_that_is_not_utf8_drops_its_row_alone(tmp_path):
    texts = pa.array([b"good", b"\xff\xfe", b"fine"]).view(pa.string())
    cells = pa.array([image(RED)] * 3, PICTURE)
    table = pa.table({"image": cells, "control_depth": cells, "text": texts})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data/train-00000-of-00001.parquet")
    good, bad, fine = read_all(MultiGenDepth(tmp_path))
    assert (good.instruction, fine.instruction) == ("good", "fine")
    assert bad == Drop("train-00000-of-00001/1", "unreadable row")


def test_a_number_that_is_none_drops_its_row(tmp_path):
    rows = [omniedit_row(score=s) for s in ("8", "high")]
    write(tmp_path / "train-00000-of-00001.parquet", rows, pictures=("src_img", "edited_img"))
    good, bad = read_all(OmniEdit(tmp_path))
    assert good.score == 8 and bad.reason == "unreadable row"


def test_shards_that_are_not_downloaded_are_counted(tmp_path):
    write_depth(tmp_path, [row("one")], [row("two")], [row("three")])
    (tmp_path / "data/train-00001-of-00003.parquet").unlink()
    one, absent, three = read_all(MultiGenDepth(tmp_path))
    assert (one.instruction, three.instruction) == ("one", "three")
    assert absent == Drop("train-00001-of-00003", "file missing")


@pytest.mark.parametrize("damage", ["cut", "pointer", "empty"])
def test_a_damaged_shard_is_one_piece_whose_error_names_it(tmp_path, damage):
    path = (
        write_depth(tmp_path, [row("one")] * 4, [row("two")]) / "data/train-00000-of-00002.parquet"
    )
    whole = path.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    path.write_bytes({"cut": whole[:-100], "pointer": pointer, "empty": b""}[damage])
    dataset = MultiGenDepth(tmp_path)
    bad, good = dataset.parts()
    with pytest.raises(ValueError, match="train-00000-of-00002.parquet, row group 0: ") as error:
        list(dataset.read(bad))
    assert "\n" not in str(error.value)
    assert [x.instruction for x in dataset.read(good)] == ["two"]


def test_damage_inside_a_row_group_keeps_to_it(tmp_path):
    path = (
        write_depth(tmp_path, [row("one")] * 2 + [row("two")] * 2)
        / "data/train-00000-of-00001.parquet"
    )
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    dataset = MultiGenDepth(tmp_path)
    bad, good = dataset.parts()
    with pytest.raises(ValueError, match=r"00001\.parquet, row group 0"):
        list(dataset.read(bad))
    assert [x.instruction for x in dataset.read(good)] == ["two", "two"]


def test_a_shard_with_other_columns_is_an_error_of_its_pieces(tmp_path):
    write_depth(tmp_path, [row("one")], [row("two")])
    write(tmp_path / "data/train-00001-of-00002.parquet", [{"image": b"", "text": ""}])
    dataset = MultiGenDepth(tmp_path)
    with pytest.raises(
        ValueError, match="00001-of-00002.*: expected a column control_depth, found"
    ):
        list(dataset.read(dataset.parts()[1]))


def test_layouts(tmp_path):
    names = ["train-00000-of-00001-5d1a9c0f4e3b2a17.parquet", "validation-00000-of-00001.parquet"]
    for name in names:
        write(tmp_path / name, [row()], pictures=PICTURES)
    assert find_files(tmp_path, ("train",)) == (tmp_path, names[:1])
    assert find_files(tmp_path, ()) == (tmp_path, names)
    assert len(read_all(MultiGenDepth(tmp_path))) == 1


def test_a_directory_of_something_else_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="none: expected the directory of a downloaded data set"):
        MultiGenDepth(tmp_path / "none")
    with pytest.raises(ConfigError, match="expected data/train-00000-of-NNNNN.*, found nothing"):
        MultiGenDepth(tmp_path)
    write(tmp_path / "data/dev-00000-of-00001.parquet", [row()], pictures=PICTURES)
    with pytest.raises(ConfigError, match="expected data/train-00000-of-NNNNN.*, found data"):
        MultiGenDepth(tmp_path)


def test_missing_columns_are_refused_at_once(tmp_path):
    write(tmp_path / "data/train-00000-of-00001.parquet", [{"image": b"", "caption": "a"}])
    with pytest.raises(
        ConfigError, match="multigen-depth: expected a column control_depth, found caption,"
    ):
        MultiGenDepth(tmp_path)


def test_no_readable_file_is_refused_at_once(tmp_path):
    (tmp_path / "train-00000-of-00002.parquet").write_bytes(b"version https://git-lfs")
    with pytest.raises(
        ConfigError, match="a complete parquet file .*LFS pointers.*train-00000"
    ) as error:
        MultiGenDepth(tmp_path)
    assert "\n" not in str(error.value)


def test_cells():
    assert picture(image(RED)) == picture(RED) == RED
    assert [picture(x) for x in (None, b"", {"bytes": None, "path": "a.png"}, "a.png")] == [
        None
    ] * 4
    assert [text(x) for x in (" a ", ["", "b", "c"], None, [], [None], 3)] == [" a ", "b"] + [
        ""
    ] * 4
