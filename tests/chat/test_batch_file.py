import json

import pytest

from jaxedit.chat.batch_file import read_replies, request_line
from jaxedit.config import ConfigError


def test_a_request():
    assert json.loads(request_line("a", {"model": "m"})) == {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m"},
    }


def test_replies(tmp_path):
    path = tmp_path / "replies.jsonl"
    body = {"model": "m", "choices": [{"message": {"content": "yes"}}]}
    lines = [
        {"custom_id": "a", "response": {"body": body}},
        {"custom_id": "b", "answer": "no"},
        {"custom_id": "c", "response": None, "error": {"code": "x"}},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    replies = list(read_replies(path))
    assert [(r.custom_id, r.text, r.model) for r in replies] == [
        ("a", "yes", "m"),
        ("b", "no", ""),
        ("c", None, ""),
    ]
    assert replies[1].where == f"{path}, line 2"


@pytest.mark.parametrize("line", ["{", "[]", '{"custom_id": 5, "answer": "no"}', '{"answer": "x"}'])
def test_damaged_replies(tmp_path, line):
    path = tmp_path / "replies.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match="line 1: expected custom_id and response"):
        list(read_replies(path))
    with pytest.raises(ConfigError, match="none: expected a file of responses"):
        list(read_replies(tmp_path / "none"))
