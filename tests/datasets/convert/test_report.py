import json

import pytest

from jaxedit.datasets.convert.report import Report, write_json


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
