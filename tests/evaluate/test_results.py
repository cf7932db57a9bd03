"""The file of scores: what is kept, what is forgotten, and lines that were cut short."""

import math

from jaxedit.evaluate.results import Results


def row(key, digest, **scores):
    return {"key": key, "type": "t", "edit": "e.png", "edit_sha256": digest, "scores": scores}


def test_scores_belong_to_an_edit(tmp_path):
    results = Results(tmp_path)
    results.add(row("a", "1", psnr=math.inf, ssim=0.5, empty=math.nan))
    again = Results(tmp_path)
    found = again.scores_of("a", "1")
    assert found["psnr"] == math.inf and found["ssim"] == 0.5 and math.isnan(found["empty"])
    assert again.scores_of("a", "2") == {} and again.scores_of("b", "1") == {}


def test_the_newest_line_counts_and_a_cut_line_does_not(tmp_path):
    path = tmp_path / "per_sample.jsonl"
    results = Results(tmp_path)
    results.add(row("a", "1", s=1.0))
    results.add(row("a", "1", s=2.0))
    path.write_text(path.read_text() + '{"key": "b", "sco')
    again = Results(tmp_path)
    assert [r["scores"] for r in again.rows(["b", "a"])] == [{"s": 2.0}]
    again.add(row("c", "1", s=3.0))
    assert len(Results(tmp_path).rows("abc")) == 2


def test_a_judges_scores_are_replaced(tmp_path):
    results = Results(tmp_path)
    results.add(row("a", "1", s=1.0, judge=5.0))
    results.update("a", {}, forget=["judge"])
    assert Results(tmp_path).scores_of("a", "1") == {"s": 1.0}


def test_shards_are_read_together(tmp_path):
    Results(tmp_path, (0, 2)).add(row("a", "1", s=1.0))
    Results(tmp_path, (1, 2)).add(row("b", "1", s=2.0))
    whole = Results(tmp_path)
    assert [r["scores"]["s"] for r in whole.rows("ab")] == [1.0, 2.0]
    whole.add(row("a", "1", s=3.0))
    assert Results(tmp_path, (0, 2)).scores_of("a", "1") == {"s": 3.0}
