"""The file of scores: what is kept, what is forgotten, and lines that were cut short."""

import json
import math

from jaxedit.evaluate.results import Results, json_text


def row(key, digest, sample="s", **scores):
    about = {"key": key, "type": "t", "edit": "e.png"}
    return about | {"edit_sha256": digest, "sample_sha256": sample, "scores": scores}


def test_scores_belong_to_an_edit(tmp_path):
    results = Results(tmp_path)
    results.add(row("a", "1", psnr=math.inf, ssim=0.5, empty=math.nan))
    again = Results(tmp_path)
    found = again.scores_of(row("a", "1"))
    assert found["psnr"] == math.inf and found["ssim"] == 0.5 and math.isnan(found["empty"])
    others = row("a", "2"), row("b", "1"), row("a", "1", "another source")
    assert [again.scores_of(other) for other in others] == [None] * 3


def test_the_newest_line_counts_and_a_cut_line_does_not(tmp_path):
    path = tmp_path / "score_cache.jsonl"
    results = Results(tmp_path)
    results.add(row("a", "1", s=1.0))
    results.add(row("a", "1", s=2.0))
    path.write_text(path.read_text() + '{"key": "b", "sco')
    again = Results(tmp_path)
    assert [r["scores"] for r in again.rows("a", ["s", "t"])] == [{"s": 2.0}]
    assert again.scores_of(row("b", "1")) is None
    again.add(row("c", "1", s=3.0))
    assert len(Results(tmp_path).rows("ac", "s")) == 2


def test_a_judges_scores_are_replaced(tmp_path):
    results = Results(tmp_path)
    results.add(row("a", "1", s=1.0, judge=5.0))
    results.update("a", {}, forget=["judge"])
    assert Results(tmp_path).scores_of(row("a", "1")) == {"s": 1.0}


def test_rows_have_only_the_scores_that_are_asked_for(tmp_path):
    results = Results(tmp_path)
    results.add(row("a", "1", s=math.inf, judge=5.0))
    results.add(row("b", "1", s=2.0))
    (found,) = results.rows(["a"], ["s", "other"])
    assert found["scores"] == {"s": math.inf}
    assert json.loads(json_text([found]))["scores"] == {"s": "inf"}


def test_shards_are_read_together(tmp_path):
    Results(tmp_path, (0, 2)).add(row("a", "1", s=1.0))
    Results(tmp_path, (1, 2)).add(row("b", "1", s=2.0))
    whole = Results(tmp_path)
    assert [r["scores"]["s"] for r in whole.rows("ab", "s")] == [1.0, 2.0]
    whole.add(row("a", "1", s=3.0))
    assert Results(tmp_path, (0, 2)).scores_of(row("a", "1")) == {"s": 3.0}
