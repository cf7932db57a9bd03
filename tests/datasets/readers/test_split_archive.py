import gzip
import io
import multiprocessing
import pickle

import numpy as np
import pytest
from fabricate_archives import tar, write_gz, write_pieces, write_split

from jaxedit.config import ConfigError
from jaxedit.datasets.readers import split_archive
from jaxedit.datasets.readers.split_archive import archives_in
from jaxedit.datasets.readers.split_file import Piece, SplitFile, find_archives, open_pieces

# Random, so that compression does not change where a cut falls.
FILES = {f"photos/{i}.jpg": np.random.default_rng(i).bytes(3000 + 700 * i) for i in range(12)}


def only(folder, scratch=None):
    (archive,) = archives_in(folder, scratch or folder / "unpacked").values()
    return archive


def prepared(folder):
    archive = only(folder)
    archive.prepare()
    return archive


def test_pieces_are_one_file(tmp_path):
    for i, content in enumerate((b"abc", b"", b"defgh")):
        (tmp_path / str(i)).write_bytes(content)
    pieces = [Piece(tmp_path / str(i), size) for i, size in enumerate((3, 0, 5))]
    with SplitFile(pieces) as file:
        assert [file.read(4), file.read(4), file.read(4), file.read()] == [
            b"abc",
            b"defg",
            b"h",
            b"",
        ]
        assert file.seek(-6, io.SEEK_END) == 2 and file.tell() == 2
    with open_pieces(pieces) as file:
        file.seek(2)
        assert file.read(3) == b"cde" and file.seek(-1, io.SEEK_CUR) == 4 and file.read() == b"efgh"


@pytest.mark.parametrize("write", [write_gz, write_split])
def test_members_by_name(tmp_path, write):
    write(tmp_path, "x", FILES)
    archive = prepared(tmp_path)
    assert archive.is_whole()
    for name, content in FILES.items():
        assert archive.read(name) == archive.read(name.removeprefix("photos/")) == content
    assert archive.read("photos/12.jpg") is None and archive.read("") is None


def test_a_plain_tar_is_not_copied_and_a_compressed_one_once(tmp_path):
    write_split(tmp_path / "a", "x", FILES)
    prepared(tmp_path / "a")
    assert {path.suffix for path in (tmp_path / "a/unpacked").iterdir()} == {
        ".json",
        ".lock",
        ".npy",
    }
    write_gz(tmp_path / "b", "x", FILES)
    archive = prepared(tmp_path / "b")
    (plain,) = (tmp_path / "b/unpacked").glob("*.tar")
    assert plain.read_bytes() == tar(FILES)
    time = plain.stat().st_mtime_ns
    archive.prepare()
    assert plain.stat().st_mtime_ns == time


def test_compression_is_seen_in_the_bytes(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(tar(FILES))  # a plain tar under a wrong name
    assert prepared(tmp_path).read("photos/3.jpg") == FILES["photos/3.jpg"]
    (tmp_path / "y").mkdir()
    (tmp_path / "y/x.tar").write_bytes(gzip.compress(tar(FILES)))
    assert prepared(tmp_path / "y").read("photos/3.jpg") == FILES["photos/3.jpg"]


def test_other_processes_read_the_same_index(tmp_path):
    write_gz(tmp_path, "x", FILES)
    archive = prepared(tmp_path)
    archive.read("photos/1.jpg")
    assert len(pickle.dumps(archive)) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(archive.read, ("photos/5.jpg",)) == FILES["photos/5.jpg"]


def test_the_last_of_two_members_of_one_name_wins(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar({"./a": b"1", "a": b"2", "b/c": b"3"}))
    archive = prepared(tmp_path)
    assert (archive.read("a"), archive.read("b/c"), archive.read("c")) == (b"2", b"3", None)


@pytest.mark.parametrize("write", [write_gz, write_split])
def test_what_lies_before_a_cut_is_read(tmp_path, write, capsys):
    write(tmp_path, "x", FILES)
    last = sorted(tmp_path.iterdir())[-1]
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    archive = prepared(tmp_path)
    assert not archive.is_whole()
    found = [archive.read(name) for name in FILES]
    assert found[:8] == list(FILES.values())[:8] and found[-1] is None
    assert all(x in (None, content) for x, content in zip(found, FILES.values(), strict=True))
    if write is write_gz:
        assert "x: only the first part can be read" in capsys.readouterr().err


def test_a_damaged_archive_gives_what_comes_before(tmp_path):
    data = bytearray(tar(FILES))
    cut = data.index(b"photos/6.jpg")
    data[cut : cut + 512] = b"?" * 512
    (tmp_path / "x.tar").write_bytes(data)
    archive = prepared(tmp_path)
    assert archive.read("photos/5.jpg") == FILES["photos/5.jpg"] and not archive.is_whole()
    assert archive.read("photos/6.jpg") is None


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x1f\x8b", bytes(1024)])
def test_files_that_are_no_archives_have_no_members(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    archive = prepared(tmp_path)
    assert archive.read("a") is None and archive.is_whole() == (len(content) == 1024)


def test_a_stopped_decompression_goes_on(tmp_path, monkeypatch):
    write_gz(tmp_path, "x", FILES)
    archive = only(tmp_path)
    monkeypatch.setattr(split_archive, "_CHUNK", 4096)
    read1, count = gzip.GzipFile.read1, 0

    def stop(self, size):
        nonlocal count
        count += 1
        if count > 3:
            raise KeyboardInterrupt
        return read1(self, size)

    with monkeypatch.context() as patch:
        patch.setattr(gzip.GzipFile, "read1", stop)
        with pytest.raises(KeyboardInterrupt):
            archive.prepare()
    (partial,) = (tmp_path / "unpacked").glob("*.partial")
    assert 0 < partial.stat().st_size <= 3 * 4096
    with pytest.raises(OSError):
        archive.read("photos/1.jpg")
    archive.prepare()
    assert [archive.read(name) for name in FILES] == list(FILES.values())
    assert not partial.exists()


def test_a_download_that_went_on_replaces_what_was_made_of_its_beginning(tmp_path):
    write_gz(tmp_path, "x", FILES)
    last = tmp_path / "x.tar.gz.part-ac"
    content = last.read_bytes()
    last.unlink()
    before = prepared(tmp_path)
    assert not before.is_whole()
    last.write_bytes(content)
    after = prepared(tmp_path)
    assert after.is_whole() and after.version != before.version
    assert after.read("photos/11.jpg") == FILES["photos/11.jpg"]
    assert len(list((tmp_path / "unpacked").iterdir())) == 4  # .json .lock .npy .tar


def test_pieces_are_ordered_by_number(tmp_path):
    labels = [str(i) for i in range(11)]  # "10" sorts before "2" as text
    write_pieces(tmp_path, "x.tar.split.", tar(FILES), labels)
    names = [path.name for path in find_archives(tmp_path)["x"]]
    assert names == [f"x.tar.split.{label}" for label in labels]
    assert prepared(tmp_path).is_whole()


def test_pieces_win_over_a_joined_file(tmp_path):
    write_split(tmp_path, "x", FILES)
    (tmp_path / "x.tar").write_bytes(b"half")
    assert prepared(tmp_path).is_whole()


@pytest.mark.parametrize(
    ("name", "labels", "missing"),
    [
        ("x.tar.split.", ("000", "002"), "x.tar.split.001 is missing"),
        ("x.tar.split.", ("003", "004"), "x.tar.split.001 is missing"),
        ("x.tar.gz.part-", ("aa", "ac", "ad"), "x.tar.gz.part-ab is missing"),
        ("x.tar.gz.part-", ("ab",), "x.tar.gz.part-aa is missing"),
    ],
)
def test_a_missing_piece_is_named(tmp_path, name, labels, missing):
    write_pieces(tmp_path, name, b"x" * 99, labels)
    with pytest.raises(ConfigError, match=missing):
        find_archives(tmp_path)


def test_a_scratch_folder_that_is_too_small(tmp_path, monkeypatch):
    write_gz(tmp_path, "x", FILES)
    free = type("Usage", (), {"free": 10})
    monkeypatch.setattr(split_archive.shutil, "disk_usage", lambda path: free)
    with pytest.raises(OSError, match="0.0 GB free: x needs"):
        only(tmp_path).prepare()


def test_a_disk_that_fills_up(tmp_path, monkeypatch):
    write_gz(tmp_path, "x", FILES)

    def full(self, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "read1", full)
    with pytest.raises(OSError, match="partial: No space left on device: run again to continue"):
        only(tmp_path).prepare()
