import json

import pytest
from fabricate_store import make_record, write_store

from jaxedit.data.store import Store
from jaxedit.datasets.vlm_filter.__main__ import main


@pytest.fixture
def store(tmp_path):
    """Write a store of eight rows; the third row is not an edit."""
    records = [make_record(i, task="depth" if i == 2 else "edit") for i in range(8)]
    return write_store(tmp_path / "mine", records)


def run(store, **options):
    return main([f"--store={store}", *(f"--{name}={value}" for name, value in options.items())])


def odd_is_no(body):
    """Answer no for things of odd number, such as "Add a thing 3"."""
    text = body["messages"][0]["content"][0]["text"]
    return "no" if int(text.split("Add a thing ")[1].split()[0]) % 2 else "Yes."


def rows_of(store):
    opened = Store(store)
    return [opened.number_of(i) for i in range(len(opened))]


def test_rows_with_a_no_are_dropped(store, server, capsys):
    server.script += [(200, odd_is_no)] * 7
    assert run(store, endpoint=server.url, model="vlm", threads=3) == 0
    assert "7 of 8 rows judged: 3 yes, 4 no, 0 unclear" in capsys.readouterr().out
    assert rows_of(store) == [0, 2, 4, 6]
    assert len(server.requests) == 7 and server.requests[0][0]["temperature"] == 0
    assert run(store, endpoint=server.url, model="vlm") == 0
    assert len(server.requests) == 7  # nothing is asked twice


def test_shards_ask_about_different_rows(store, server, capsys):
    server.script += [(200, odd_is_no)] * 7
    for i in range(2):
        assert run(store, endpoint=server.url, model="vlm", shard=f"{i}/2") == 0
        assert len(server.requests) == (3, 7)[i] and rows_of(store) == list(range(8))
    assert "vlm_filter.1-of-2.jsonl: all rows of shard 1/2 are judged" in capsys.readouterr().out
    assert run(store, endpoint=server.url, model="vlm") == 0
    assert len(server.requests) == 7 and rows_of(store) == [0, 2, 4, 6]
    assert main([f"--store={store}", "--import=answers.jsonl", "--shard=0/2"]) == 2
    assert "--import: expected no --shard beside it" in capsys.readouterr().err


def test_a_run_that_fails_goes_on(store, server, capsys):
    server.script += [(200, odd_is_no)] * 3 + [(401, "no credit")]
    assert run(store, endpoint=server.url, model="vlm", threads=1) == 2
    assert capsys.readouterr().err.endswith("HTTP 401: no credit\n")
    assert rows_of(store) == list(range(8))  # an incomplete run drops nothing
    with (store / "vlm_filter.jsonl").open("a") as file:
        file.write('{"row": 4, "id": "pi')  # killed while writing
    server.script += [(200, odd_is_no)] * 4
    assert run(store, endpoint=server.url, model="vlm", threads=1) == 0
    assert len(server.requests) == 8 and rows_of(store) == [0, 2, 4, 6]


def test_refused_rows_are_unclear_if_others_are_not(store, server, capsys):
    server.script += [(400, "unknown model")]
    assert run(store, endpoint=server.url, model="vlm", threads=1) == 2
    assert "HTTP 400: unknown model" in capsys.readouterr().err
    server.script += [(200, "yes"), (400, "bad picture"), (200, "maybe")]
    assert run(store, endpoint=server.url, model="vlm", threads=1, rows="0:4") == 0
    assert "3 of 8 rows judged: 1 yes, 0 no, 2 unclear" in capsys.readouterr().out
    assert rows_of(store) == list(range(8))


def test_by_files(store, tmp_path, capsys):
    ask, answer = tmp_path / "ask.jsonl", tmp_path / "answer.jsonl"
    assert run(store, export=ask, model="vlm", options='{"max_tokens": 9}', rows="1:") == 0
    requests = [json.loads(line) for line in ask.read_text().splitlines()]
    assert [r["custom_id"] for r in requests] == [f"{i}:pipe/train/{i}" for i in (1, 3, 4, 5, 6, 7)]
    assert requests[0]["body"]["max_tokens"] == 9 and requests[0]["url"] == "/v1/chat/completions"
    responses = [
        {
            "custom_id": r["custom_id"],
            "response": {"body": {"choices": [{"message": {"content": odd_is_no(r["body"])}}]}},
        }
        for r in requests[:4]
    ]
    responses.append({"custom_id": "6:pipe/train/6", "answer": "no"})
    responses.append({"custom_id": "7:pipe/train/7", "response": None, "error": {"code": "x"}})
    answer.write_text("".join(json.dumps(r) + "\n" for r in responses))
    assert main([f"--store={store}", f"--import={answer}"]) == 0
    out = capsys.readouterr().out
    assert "1 lines without a response" in out and "1 yes, 4 no, 0 unclear" in out
    assert rows_of(store) == [0, 2, 4, 7]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: expected custom_id and response"),
        ('{"custom_id": 5}', "line 1: expected custom_id and response"),
        ('{"custom_id": "1:pipe/train/2", "answer": "no"}', "'pipe/train/2' is not row 1 of"),
        ('{"custom_id": "9:pipe/train/9", "answer": "no"}', "'pipe/train/9' is not row 9 of"),
    ],
)
def test_damaged_imports_change_nothing(store, tmp_path, capsys, line, message):
    (tmp_path / "answer.jsonl").write_text(line + "\n")
    assert main([f"--store={store}", f"--import={tmp_path / 'answer.jsonl'}"]) == 2
    assert message in capsys.readouterr().err
    assert not list(store.glob("*.jsonl"))


@pytest.mark.parametrize("line", ["{}", "{", '{"row": 0, "id": "x", "answer": "no", "model": ""}'])
def test_damaged_answers(store, server, capsys, line):
    (store / "vlm_filter.jsonl").write_text(line + "\n")
    assert run(store, endpoint=server.url, model="vlm") == 2
    assert "vlm_filter.jsonl" in capsys.readouterr().err and not server.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "http://host"}, "--model is missing"),
        ({"endpoint": "host", "model": "m"}, "host: expected the address of a server"),
        ({"model": "m"}, "one of the arguments --endpoint --export --import is required"),
        ({"export": "none/x.jsonl", "model": "m"}, "none/x.jsonl: not written: No such file"),
        ({"import": "none.jsonl"}, "none.jsonl"),
        ({"endpoint": "http://host", "model": "m", "rows": "5"}, "5: expected BEGIN:END"),
        ({"endpoint": "http://host", "model": "m", "options": "[]"}, "expected a JSON object"),
        ({"endpoint": "http://host", "model": "m", "threads": 0}, "--threads=0: expected a pos"),
    ],
)
def test_bad_arguments(store, capsys, options, message):
    assert run(store, **options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
