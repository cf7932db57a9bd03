import pytest

from jaxedit.config import ConfigError
from jaxedit.config.fields import choices_of
from jaxedit.config.tokens import PromptStyle
from jaxedit.data import toybox
from jaxedit.data.prompts import PROMPTS, TASKS, prompt


@pytest.mark.parametrize(
    ("task", "style", "text"),
    [
        ("depth", "code", "Given the depth image, generate an image following the description: X"),
        (
            "canny",
            "code",
            "Given the canny edge image, generate an image following the description: X",
        ),
        (
            "segmentation",
            "code",
            "Given the segmentation mask, generate an image following the description: X",
        ),
        ("depth", "paper", "Given the depth, generate the image following the instruction: X"),
        ("canny", "toy", "given the edge image generate an image following the description X"),
    ],
)
def test_exact_words(task, style, text):
    assert prompt(task, "X", style) == text


def test_a_caption_stays_as_it_is():
    assert prompt("depth", " {caption} 100% {map}").endswith("description:  {caption} 100% {map}")


def test_toy_prompts_are_those_of_the_toybox():
    pair = toybox.make(0, 5, 0, task="segmentation")
    start = PROMPTS["toy"]["segmentation"].removesuffix("{caption}")
    assert pair.instruction.startswith(start)
    assert prompt("segmentation", pair.instruction.removeprefix(start), "toy") == pair.instruction


def test_every_style_has_every_task():
    assert tuple(PROMPTS) == choices_of(PromptStyle)
    assert all(set(by_task) == set(TASKS) for by_task in PROMPTS.values())


def test_unknown_names():
    with pytest.raises(ConfigError, match="prompts='short': expected one of code, paper, toy"):
        prompt("depth", "X", "short")
    with pytest.raises(ConfigError, match="task='edge': expected one of depth, canny, segment"):
        prompt("edge", "X")
