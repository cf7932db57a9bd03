import pytest

from jaxedit.evaluate.judges.replies import read_lines, read_pair
from jaxedit.evaluate.judges.rubrics import JUDGES


def test_golden_replies(golden):
    for case in golden("metrics_judge")[1]["parse"]:
        expected = case["jaxedit_expected"]
        assert read_pair(case["text"]) == (expected and tuple(expected)), case["name"]


@pytest.mark.parametrize(
    ("reply", "pair"),
    [
        ('<think>first {"score": [10, 10]}, then', None),
        ('◁think▷[1, 1]◁/think▷{"score": [2, 3]}', (2, 3)),
        ('{{"score": [["8"], 7]}}', None),
        ('{"score": [1_0, 7]}', None),
        ('{"score": [inf, 7]}', None),
        ('{"score": [8/10, 7/10]}', None),
        ('{"score": [, ]}', None),
        ('{"score": [8, 7,,]}', None),
        ('{"score": [8, 7]', (8, 7)),
        ('{"score":\n [\n8,\n 7\n]}', (8, 7)),
        ("[" * 10000, None),
    ],
)
def test_odd_replies(reply, pair):
    assert read_pair(reply) == pair


def test_golden_imgedit(golden):
    golden_imgedit = golden("metrics_judge")[1]["imgedit"]
    overall = {}
    for key, reply in golden_imgedit["replies"].items():
        if numbers := read_lines(reply):
            overall[key] = JUDGES["imgedit"].score(numbers)["imgedit_overall"]
    assert overall == golden_imgedit["average_reference_code"]
    by_type = {"add": ("1", "3"), "style": ("2",), "background": ("5",)}
    means = {k: round(sum(overall[i] for i in v) / len(v), 2) for k, v in by_type.items()}
    assert means == golden_imgedit["by_type_reference_code"]


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ("<think>a: 1</think>a: 5\nb: 4\nc: 3", (5, 4, 3)),
        ("**A: 5**\nB : 4 \nC:3", (5, 4, 3)),
        ("a: 6\nb: 4\nc: 3", None),
        ("a: 0\nb: 4\nc: 3", None),
        ("", None),
    ],
)
def test_lines(reply, numbers):
    assert read_lines(reply) == numbers
