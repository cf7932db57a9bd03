import pytest

from jaxedit.data.caption_cleaning import clean_caption


def test_captions_match_release(golden):
    _, description = golden("llamagen_text_cleaning")
    assert len(description["pairs"]) == 30
    for caption, expected in description["pairs"]:
        assert clean_caption(caption) == expected, caption


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("a <b>red<br>bus</b> &lt;3", "a redbus <3"),
        ("<style>p {}</style>a<!-- no --> bus", "a bus"),
        ("a%20bus", "a bus"),
    ],
)
def test_markup_is_read(caption, expected):
    assert clean_caption(caption) == expected


def test_a_clean_caption_stays():
    caption = "a small dog, two cats and 3 birds on a red bus"
    assert clean_caption(caption) == caption
