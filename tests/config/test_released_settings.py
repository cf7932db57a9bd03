import pathlib
import re

import pytest

from jaxedit.config import official

PAGE = pathlib.Path(__file__).parents[2] / "docs/released_settings.md"
ROWS = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
NAMED = [(name, cells.split("|")) for name, cells in ROWS if len(cells.split("|")) == 4]


def test_every_editor_is_on_the_page():
    names = {name for name, _ in NAMED}
    assert names >= {"varedit-2b-512", "varedit-8b-512", "varedit-8b-1024", "editar-512"}


@pytest.mark.parametrize("name, cells", NAMED)
def test_the_page_says_what_a_name_uses(name, cells):
    config = official(name).config
    sample = config.token_sample or config.sample
    used = [sample.guidance, sample.temperature, sample.top_p, getattr(sample, "top_k", None)]
    assert [float(cell) if cell.strip() else None for cell in cells] == used


def test_ours_is_the_papers_set():
    paper = re.search(r"^\| paper \|.*\| ([\d.]+) \| ([\d.]+) \|$", PAGE.read_text("utf-8"), re.M)
    sample = official("varedit-8b-512").config.sample
    assert [float(number) for number in paper.groups()] == [sample.guidance, sample.temperature]
