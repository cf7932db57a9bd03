import base64
import io
import itertools
import json
import logging
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxedit.chat.endpoint import Endpoint
from jaxedit.config import ConfigError
from jaxedit.evaluate.judges import JUDGES, Failure, ReplyCache, judge_edits
from jaxedit.evaluate.judges.chat_judges import FileJudge, OpenAIChatJudge
from jaxedit.evaluate.sample import Sample
from jaxedit.evaluate.scores.score import Edit

GOOD = '{{"score": [8, 6], "reasoning": "echoed"}}'
SCORES = {"gpt_suc": 8, "gpt_over": 6, "gpt_bal": 48 / 7}


def edit_of(i, instruction=None):
    """An edit whose source is all i and whose result is all 100 + i."""
    source, edited = (np.full((4, 4, 3), value, np.uint8) for value in (i, 100 + i))
    sample = Sample(key=f"s/{i}", source=b"", instruction=instruction or f"do {i}")
    return Edit(sample=sample, source=source, edited=edited, target=None, mask=None)


def judge_on(server, threads=4, **settings):
    return OpenAIChatJudge(Endpoint(server.url, delay=0.01, **settings), "vlm", threads=threads)


def run(judge, cache=None, *, rubric="varedit", edits=(0, 1, 2, 3), attempts=3):
    edits = (edit_of(i) for i in edits)
    return dict(judge_edits(JUDGES[rubric], edits, judge, cache, attempts=attempts))


def pictures_of(body):
    """The value of each picture in a request."""
    urls = [c["image_url"]["url"] for c in body["messages"][0]["content"][1:]]
    files = [io.BytesIO(base64.b64decode(url.partition(",")[2])) for url in urls]
    return [int(np.asarray(Image.open(file))[0, 0, 0]) for file in files]


def prompt_of(body):
    return body["messages"][0]["content"][0]["text"]


def test_the_judge_sees_prompt_source_and_edit(server):
    server.default = GOOD
    assert run(judge_on(server), edits=[7]) == {"s/7": SCORES}
    ((body, _),) = server.requests
    assert prompt_of(body).endswith("Instruction: do 7")
    assert pictures_of(body) == [7, 107]
    assert (body["model"], body["temperature"], body["seed"]) == ("vlm", 0, 0)


def test_viescore_asks_twice(server):
    server.default = lambda body: '{"score": [9, 4]}' if len(pictures_of(body)) == 2 else "[6, 9]"
    scores = run(judge_on(server), rubric="viescore", edits=[7])["s/7"]
    assert scores == {"viescore_sc": 4, "viescore_pq": 6, "viescore_overall": 24**0.5}
    assert sorted(pictures_of(body) for body, _ in server.requests) == [[7, 107], [107]]


def test_rubbish_is_asked_again_and_then_counted(server, tmp_path):
    cache = ReplyCache(tmp_path / "replies.jsonl")
    server.script += [(200, "Nice!"), (200, ""), (200, GOOD)] + [(200, "\ud800 no\nway")] * 3
    server.default = GOOD
    results = run(judge_on(server, threads=1), cache, edits=(0, 1, 2))
    assert results["s/0"] == results["s/2"] == SCORES
    failure = results["s/1"]
    assert isinstance(failure, Failure) and not failure.is_waiting
    assert failure.reason == "varedit: no scores in 3 replies, the last: '\\ud800 no way'"
    assert [body["seed"] for body, _ in server.requests] == [0, 1, 2, 0, 1, 2, 0]
    # A later run reads the same from the stored replies, and may ask further.
    again = ReplyCache(tmp_path / "replies.jsonl")
    assert run(judge_on(server), again, edits=(0, 1, 2)) == results
    assert len(server.requests) == 7
    assert run(judge_on(server), again, edits=(0, 1, 2), attempts=4)["s/1"] == SCORES
    assert server.requests[-1][0]["seed"] == 3 and len(server.requests) == 8


def test_a_refusal_fails_only_its_edit(server):
    server.script += [(400, "no such picture, please")]
    server.default = GOOD
    results = run(judge_on(server, threads=1))
    assert "HTTP 400: no such picture" in results["s/0"].reason
    assert [results[f"s/{i}"] for i in (1, 2, 3)] == [SCORES] * 3


def test_a_busy_or_hanging_server_is_asked_again(server):
    server.script += [
        (429, "slow down", ("Retry-After", "0")),
        (503, "loading"),
        (200, lambda body: time.sleep(0.5) or "late"),
        (200, "not JSON"),
    ]
    server.default = GOOD
    results = run(judge_on(server, timeout=0.2))
    assert results == {f"s/{i}": SCORES for i in range(4)}


def test_a_killed_run_goes_on(server, tmp_path):
    path = tmp_path / "replies.jsonl"
    server.script += [(200, GOOD)] * 3 + [(401, "no credit")]
    server.default = GOOD
    results = judge_edits(
        JUDGES["varedit"], map(edit_of, range(6)), judge_on(server, threads=1), ReplyCache(path)
    )
    with pytest.raises(OSError, match="HTTP 401: no credit$"):
        list(results)
    with path.open("a") as file:
        file.write('{"key": "12')  # killed while writing
    assert run(judge_on(server), ReplyCache(path), edits=range(6)).keys() == {
        f"s/{i}" for i in range(6)
    }
    assert len(server.requests) == 7 and len(path.read_text().splitlines()) == 6


_PROGRAM = """
import pathlib, sys
sys.path.insert(0, sys.argv[3])
from test_judge import *
cache = ReplyCache(pathlib.Path(sys.argv[2]))
judge = OpenAIChatJudge(Endpoint(sys.argv[1]), "vlm", threads=2)
for _ in judge_edits(JUDGES["varedit"], map(edit_of, range(40)), judge, cache):
    pass
"""


def test_a_process_that_is_killed_asks_nothing_twice(server, tmp_path):
    path, here = tmp_path / "replies.jsonl", pathlib.Path(__file__)
    server.default = lambda body: time.sleep(0.02) or GOOD
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, server.url, str(path), str(here.parent)],
        cwd=here.parents[3],
    )
    while len(server.requests) < 10 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert 0 < len(ReplyCache(path)._replies) < 40
    judge = OpenAIChatJudge(Endpoint(server.url), "vlm")
    assert len(run(judge, ReplyCache(path), edits=range(40))) == 40
    assert len(server.requests) <= 40 + 2  # but for the two that were under way


def test_results_stream_and_edits_are_read_as_needed(server):
    server.default = GOOD
    read = itertools.count()
    edits = (edit_of(next(read) % 100) for _ in range(10000))
    results = judge_edits(JUDGES["varedit"], edits, judge_on(server, threads=2))
    assert next(results) == ("s/0", SCORES) and next(results)[0] == "s/1"
    results.close()
    assert next(read) <= 8


def test_what_matters_is_asked_anew(server, tmp_path):
    server.default = GOOD
    cache = ReplyCache(tmp_path / "replies.jsonl")
    endpoint = Endpoint(server.url)
    other = edit_of(0, "do something else")
    warm = {"temperature": 1, "seed": 0}
    cases = [
        (JUDGES["varedit"], edit_of(0), OpenAIChatJudge(endpoint, "a")),
        (JUDGES["varedit"], other, OpenAIChatJudge(endpoint, "a")),
        (JUDGES["varedit"], edit_of(1), OpenAIChatJudge(endpoint, "a")),
        (JUDGES["varedit"], edit_of(0), OpenAIChatJudge(endpoint, "b")),
        (JUDGES["varedit"], edit_of(0), OpenAIChatJudge(endpoint, "a", warm)),
    ]
    for _ in range(2):
        for rubric, edit, judge in cases:
            list(judge_edits(rubric, [edit], judge, cache))
    assert len(server.requests) == len(cases)


def test_servers_without_seeds(server):
    server.script += [(200, "?")]
    server.default = GOOD
    judge = OpenAIChatJudge(Endpoint(server.url), "o", {"max_completion_tokens": 9})
    assert run(judge, edits=[0]) == {"s/0": SCORES}
    assert server.requests[0] == server.requests[1]
    assert server.requests[0][0].keys() == {"model", "messages", "max_completion_tokens"}


def test_the_key_stays_secret(server, tmp_path, caplog, capfd):
    key = "sk-very-secret"
    caplog.set_level(logging.DEBUG)
    server.script += [(400, f"bad {key}"), (503, key)]
    server.default = GOOD
    judge = judge_on(server, threads=1, key=key)
    results = run(judge, ReplyCache(tmp_path / "replies.jsonl"))
    assert server.requests[0][1] == f"Bearer {key}"
    out = capfd.readouterr()
    seen = (tmp_path / "replies.jsonl").read_text() + caplog.text + out.out + out.err
    assert key not in seen + repr(results) + repr(judge) + json.dumps(judge.settings)


def test_by_files(tmp_path):
    requests, replies = tmp_path / "requests.jsonl", tmp_path / "replies.jsonl"
    cache = ReplyCache(tmp_path / "cache.jsonl")
    judge = FileJudge(requests, None, "vlm")
    results = run(judge, cache, rubric="viescore", edits=(0, 1, 1))
    assert all(failure.is_waiting for failure in results.values())
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    assert len({line["custom_id"] for line in lines}) == len(lines) == 4  # both questions
    assert lines[0]["body"]["model"] == "vlm" and pictures_of(lines[0]["body"]) == [0, 100]
    texts = ["[1, 2]", "rubbish", "[3, 4]", "[5, 6]"]
    replies.write_text(
        "".join(
            json.dumps({"custom_id": line["custom_id"], "answer": text}) + "\n"
            for line, text in zip(lines, texts, strict=True)
        )
    )
    results = run(FileJudge(requests, replies, "vlm"), cache, rubric="viescore", edits=(0, 1))
    assert results["s/0"].is_waiting
    assert results["s/1"] == {"viescore_sc": 3, "viescore_pq": 5, "viescore_overall": 15**0.5}
    (line,) = [json.loads(line) for line in requests.read_text().splitlines()]  # asked again
    assert line["body"]["seed"] == 1
    replies.write_text(json.dumps({"custom_id": line["custom_id"], "answer": "[7, 8]"}) + "\n")
    results = run(FileJudge(requests, replies, "vlm"), cache, rubric="viescore", edits=(0, 1))
    assert results["s/0"]["viescore_pq"] == 7 and requests.read_text() == ""


def test_bad_files(tmp_path):
    with pytest.raises(ConfigError, match="none: expected a file"):
        FileJudge(tmp_path / "requests", tmp_path / "none", "vlm")
    with pytest.raises(OSError, match="requests: not written: No such file"):
        FileJudge(tmp_path / "none" / "requests", None, "vlm").ask("?", [])
    for line in ("[]", "{", '{"key": "a"}'):
        (tmp_path / "cache").write_text(f"{line}\n")
        with pytest.raises(ConfigError, match="line 1: expected key and reply"):
            ReplyCache(tmp_path / "cache")


def test_a_full_disk_ends_the_run(server, tmp_path):
    server.default = GOOD
    (tmp_path / "there").mkdir()
    cache = ReplyCache(tmp_path / "there" / "replies.jsonl")
    (tmp_path / "there").rmdir()
    with pytest.raises(OSError, match=r"replies.jsonl: not written"):
        run(judge_on(server), cache)


def test_a_missing_picture(tmp_path):
    with pytest.raises(ConfigError, match="s/0: the judge needs its target picture"):
        run(FileJudge(tmp_path / "requests", None, "vlm"), rubric="toy", edits=[0])
