import errno
import io
import resource

import pytest
from fabricate_pairs import folder as pairs_folder
from fabricate_pairs import records
from PIL import Image

from jaxedit.data import record
from jaxedit.datasets.convert.folder import Folder
from jaxedit.datasets.convert.shard import Job, write_shard
from jaxedit.datasets.readers.example import Drop, Example


class Fake:
    """A data set whose pieces are lists of rows; an exception in a list is raised."""

    name, keeps_labels = "fake", False

    def parts(self):
        return []

    def read(self, part):
        for row in part:
            if isinstance(row, Exception):
                raise row
            yield row


@pytest.fixture
def example(tmp_path):
    pairs_folder(tmp_path / "pairs", 1)
    source = (tmp_path / "pairs/source/p000.jpg").read_bytes()
    return Example("k", source, source, "make it snow", group="g", turn=2, score=0.5)


@pytest.fixture
def job(tmp_path):
    folder = Folder(tmp_path / "out", "fake", 1)
    folder.work.mkdir(parents=True)
    return Job(Fake(), [], folder, 0, 32)


def records_of(job):
    return list(records(job.folder.shard(0)))


def test_rows_become_records(job, example):
    seen = []
    parts = [[example], [Drop("d", "several inputs"), example._replace(key="l", group="")]]
    write_shard(job._replace(parts=parts), lambda: seen.append(job.folder.shard(0).exists()))
    first, second = records_of(job)
    assert (first.id, first.group_id, first.turn) == ("fake/train/k", "fake/g", 2)
    assert (second.id, second.group_id) == ("fake/train/l", "fake/l")
    assert first.target_sha256 == second.target_sha256 and first.orig_hw == (40, 48)
    assert seen == [False, True]
    report = job.folder.report_of(0)
    assert (report.pairs, report.dropped, report.masks) == (2, {"several inputs": 1}, 0)
    assert report.tasks == {"edit": 2}
    assert job.folder.duplicate_targets() == 1


def test_bad_rows_are_dropped_and_counted(job, example):
    rows = [
        example._replace(instruction=" \n"),
        example._replace(source=b"none"),
        example._replace(target=example.target[:-500]),
        example,
    ]
    write_shard(job._replace(parts=[rows]), lambda: None)
    assert job.folder.report_of(0).dropped == {
        "empty instruction": 1,
        "source not a picture": 1,
        "target damaged": 1,
    }
    assert [row.id for row in records_of(job)] == ["fake/train/k"]


def test_a_piece_that_breaks_off_is_named(job, example):
    parts = [[example, ValueError("a.tar: cut short\nat byte 3")], [OSError()], [example]]
    write_shard(job._replace(parts=parts), lambda: None)
    report = job.folder.report_of(0)
    assert report.pairs == 2 and report.unreadable == ["a.tar: cut short", "OSError"]


def test_a_shard_may_be_empty(job):
    write_shard(job._replace(parts=[[Drop("d", "x")]]), lambda: None)
    assert records_of(job) == [] and job.folder.report_of(0).rows == 1


@pytest.fixture
def small_disk():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_nothing_behind(job, example, small_disk):
    rows = [example._replace(key=str(i)) for i in range(80)]
    with pytest.raises(OSError, match="out: .*File too large") as error:
        write_shard(job._replace(parts=[rows]), lambda: None)
    assert "\n" not in str(error.value)
    assert not list(job.folder.work.iterdir()) and job.folder.report_of(0) is None


def test_a_disk_that_is_full_while_reading_ends_the_shard(job, example):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        write_shard(job._replace(parts=[[example, full]]), lambda: None)
    assert not list(job.folder.work.iterdir())


def test_a_row_that_nobody_foresaw_costs_itself_alone(job, example, monkeypatch):
    def encode(row, features):
        return whole(row, features) if row.id != "fake/train/odd" else int("not a number")

    whole = record.encode
    monkeypatch.setattr(record, "encode", encode)
    write_shard(job._replace(parts=[[example._replace(key="odd"), example]]), lambda: None)
    report = job.folder.report_of(0)
    assert (report.pairs, report.dropped) == (1, {"not converted (ValueError)": 1})
    assert report.examples == {"not converted (ValueError)": ["odd"]}


def test_targets_of_another_shape_are_counted(job, example):
    file = io.BytesIO()
    Image.new("RGB", (40, 20)).save(file, "PNG")
    write_shard(
        job._replace(parts=[[example, example._replace(key="w", target=file.getvalue())]]),
        lambda: None,
    )
    report = job.folder.report_of(0)
    assert (report.pairs, report.reshaped) == (2, 1)
    assert "1 targets took the shape of their sources" in report.summary()
