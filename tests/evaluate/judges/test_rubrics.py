import math

import numpy as np
import pytest

from jaxedit.config import ConfigError
from jaxedit.evaluate.judges import JUDGES, successful_edits
from jaxedit.evaluate.judges.rubrics import balance
from jaxedit.evaluate.sample import Sample


def sample(instruction="make it {snow} [8, 9]", type=""):
    return Sample(key="k", source=b"", instruction=instruction, type=type)


def test_golden_balance(golden):
    for case in golden("metrics_judge")[1]["balance"]:
        assert balance(case["suc"], case["over"]) == case["bal"]


def test_golden_means(golden):
    aggregate = golden("metrics_judge")[1]["aggregate"]
    score = JUDGES["varedit"].score
    judged = [r for r in aggregate["records"] if r["suc"] is not None]
    scores = [score((r["suc"], r["over"])) for r in judged]
    expected = aggregate["expected"]
    groups = {"overall": scores} | {
        name: [s for s, r in zip(scores, judged, strict=True) if r["category"] == name]
        for name in expected["by_category"]
    }
    for name, group in groups.items():
        wanted = (expected["by_category"] | {"overall": expected["overall"]})[name]
        assert len(group) == wanted["n"]
        for short in ("suc", "over", "bal"):
            assert np.mean([s[f"gpt_{short}"] for s in group]) == pytest.approx(
                wanted[short], 1e-14
            )
    subset = expected["successful_subset_suc_ge_9"]
    assert successful_edits(scores) == (subset["n"], subset["over"])
    assert successful_edits(scores, 9.5) == (1, 10)
    count, over = successful_edits([])
    assert count == 0 and math.isnan(over)


def test_golden_viescore(golden):
    for case in golden("metrics_judge")[1]["gedit"]:
        assert JUDGES["viescore"].score(case["SC"], case["PQ"]) == {
            "viescore_sc": case["semantics"],
            "viescore_pq": case["quality"],
            "viescore_overall": case["overall"],
        }


def test_imgedit_names_its_scores_only_if_it_knows_which_is_which():
    score = JUDGES["imgedit"].score
    assert score((5, 4, 4)) == {
        "imgedit_1": 5,
        "imgedit_2": 4,
        "imgedit_3": 4,
        "imgedit_overall": 4.33,
    }
    assert score((5, 4)) == {"imgedit_overall": 4.5}


@pytest.mark.parametrize("name", JUDGES)
def test_prompts(name):
    rubric = JUDGES[name]
    for question in rubric.questions:
        text = rubric.prompt(question, sample())
        assert ("make it {snow} [8, 9]" in text) == ("source" in question.pictures)
        assert "<instruction>" not in text
    assert len(rubric.prompt_hash()) == 16


def test_imgedit_asks_by_type():
    rubric = JUDGES["imgedit"]
    paths = sorted(rubric.prompts.glob("imgedit_*.txt"))
    types = {path.stem.removeprefix("imgedit_") for path in paths} - {"uge"}
    assert types == {
        *("add", "remove", "replace", "adjust", "extract"),
        *("style", "background", "action", "compose"),
    }
    prompts = {t: rubric.prompt(rubric.questions[0], sample(type=t)) for t in types | {"other"}}
    assert len(set(prompts.values())) == 10
    for text in prompts.values():
        names = [
            line[3:].split(":")[0] for line in text.splitlines() if line[:2] in ("1.", "2.", "3.")
        ]
        assert len(names) == 3
        assert all(f"\n{name}: number\n" in text for name in names)


def test_prompts_of_a_user(tmp_path):
    ours = JUDGES["varedit"]
    with pytest.raises(ConfigError, match=r"varedit.txt: expected a prompt"):
        ours.with_prompts(tmp_path)
    (tmp_path / "varedit.txt").write_text("Good?")
    with pytest.raises(ConfigError, match=r"varedit.txt: expected <instruction> where"):
        ours.with_prompts(tmp_path)
    (tmp_path / "varedit.txt").write_text("Good: <instruction>?\n")
    theirs = ours.with_prompts(tmp_path)
    assert theirs.prompt(theirs.questions[0], sample("x")) == "Good: x?"
    (tmp_path / "varedit_style.txt").write_text("Style: <instruction>")
    assert theirs.prompt(theirs.questions[0], sample("x", "style")) == "Style: x"
    assert theirs.prompt_hash() != ours.prompt_hash()
    (tmp_path / "varedit.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        ours.with_prompts(tmp_path)
