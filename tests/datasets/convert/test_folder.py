import json

import numpy as np
import pytest

from jaxedit.config import ConfigError
from jaxedit.datasets.convert.folder import Folder, Report, write_json

SETTINGS = {"dataset": "seed-real", "store_px": 512}


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "out", "seed-real", 2)
    with folder.locked():
        folder.begin(SETTINGS, overwrite=False)
    return folder


def commit(folder, index, hashes=()):
    folder.part(index).write_bytes(b"shard")
    report = Report(pairs=len(hashes), bytes=5)
    folder.commit(index, folder.part(index), report, np.array(hashes, np.uint64))
    return report


def test_a_shard_is_whole_once_its_report_is_there(folder):
    assert folder.report_of(1) is None
    report = commit(folder, 1, [7])
    assert folder.shard(1).name == "seed_real-train.array_record-00001-of-00002"
    assert folder.report_of(1) == report and folder.report_of(0) is None
    folder.shard(1).write_bytes(b"sha")  # cut short
    assert folder.report_of(1) is None
    commit(folder, 1)
    (folder.work / "00001.json").write_text("{")
    assert folder.report_of(1) is None


def test_targets_that_occur_more_than_once(folder):
    commit(folder, 0, [1, 2, 2])
    commit(folder, 1, [2**63, 1])
    assert folder.duplicate_targets() == 2


def test_a_conversion_goes_on_with_the_same_settings_only(folder):
    commit(folder, 0)
    folder.begin(SETTINGS, overwrite=False)
    assert folder.report_of(0) is not None
    message = "out: its conversion has store_px=512 instead of 256: expected the same, another"
    with pytest.raises(ConfigError, match=message):
        folder.begin({**SETTINGS, "store_px": 256}, overwrite=False)
    (folder.path / "dataset_info.json").write_text("{}")
    folder.begin({**SETTINGS, "store_px": 256}, overwrite=True)
    assert [p.name for p in folder.path.iterdir()] == ["conversion"]
    assert json.loads((folder.work / "settings.json").read_text())["store_px"] == 256


def test_other_directories_are_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    folder = Folder(tmp_path, "seed-real", 2)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="expected a new directory, found .'photo.jpg'"):
            folder.begin(SETTINGS, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_file_in_its_place(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="--out=.*out: File exists: expected a directory$"):
        with Folder(tmp_path / "out", "seed-real", 2).locked():
            pass


def test_damaged_settings(folder):
    for text in ("{", "[]"):
        (folder.work / "settings.json").write_text(text)
        with pytest.raises(ConfigError, match="settings.json: .*expected .*remove the directory"):
            folder.begin(SETTINGS, overwrite=False)


def test_one_conversion_at_a_time(folder):
    with folder.locked():
        with pytest.raises(OSError, match="out: another conversion writes there"):
            with folder.locked():
                pass
    (folder.work / ".00000.123.part").write_bytes(b"of a killed process")
    with folder.locked():
        assert not list(folder.work.glob(".*.part"))


def test_counts_add_up():
    first, second = Report(pairs=3, bytes=10, masks=1), Report(pairs=2, bytes=5, unreadable=["x"])
    for i in range(4):
        first.drop(f"a{i}", "source damaged")
    second.drop("b", "source damaged")
    second.drop("c", "empty instruction")
    total = Report.total([first, second])
    assert (total.pairs, total.rows, total.bytes, total.masks) == (5, 11, 15, 1)
    assert total.dropped == {"source damaged": 5, "empty instruction": 1}
    assert total.examples == {"source damaged": ["a0", "a1", "a2"], "empty instruction": ["c"]}
    assert total.unreadable == ["x"]
    assert total.summary() == (
        "5 pairs of 11 rows, 0.0 MB; dropped: 5 source damaged, 1 empty instruction"
    )
    assert Report(pairs=1, bytes=2_500_000).summary() == "1 pairs of 1 rows, 2.5 MB"


def test_json_comes_back():
    report = Report(pairs=1)
    report.drop("a", "x")
    values = json.loads(json.dumps(report.as_json()))
    assert Report.from_json(values) == report
    with pytest.raises(TypeError):
        Report.from_json({**values, "unknown": 1})


def test_files_are_replaced_as_a_whole(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
