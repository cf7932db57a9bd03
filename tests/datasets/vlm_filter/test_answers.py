import base64

import pytest
from fabricate_store import make_record

from jaxedit.datasets.vlm_filter.answers import body_of, read_answer


def test_a_request_shows_both_pictures():
    record = make_record(0, instruction="add {instruction}", target=b"\xff\xd8jpeg")
    body = body_of(record, "vlm", {"temperature": 0})
    assert (body["model"], body["temperature"]) == ("vlm", 0)
    text, source, target = body["messages"][0]["content"]
    assert "by this instruction: add {instruction}\n" in text["text"]
    head, data = source["image_url"]["url"].split(",")
    assert head == "data:image/png;base64" and base64.b64decode(data) == record.source
    assert target["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", "yes"),
        ("No.", "no"),
        ("**Yes**", "yes"),
        ("No, yes would be wrong", "no"),
        ("The answer is: YES", "yes"),
        ("<think>no, no ... yes?</think>\nno", "no"),
        ("◁think▷yes yes◁/think▷no", "no"),
        ("Is it? yes and no", "unclear"),
        ("I do not know; nothing", "unclear"),
        ("", "unclear"),
        ("<think>yes, it is, because", "unclear"),
    ],
)
def test_answers(text, answer):
    assert read_answer(text) == answer
