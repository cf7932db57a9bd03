"""The service over HTTP: batches, bounds, clients that leave, the end of the process."""

import http.client
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving import WORDS, error_of, form, picture, wait_for


def test_rows_of_a_batch_are_what_they_are_alone(service, address, editor):
    """The pictures of a batch have other shapes, words, masks and seeds."""
    mask = np.zeros((16, 24), bool)
    mask[:14, 4:20] = True
    wanted = [(picture(), WORDS, mask, 7), (picture(20, 31, 1), "remove the star", None, 1)]
    requests = [service.request(image, words, mask=m, fit="crop") for image, words, m, _ in wanted]
    jobs = [service.submit(r, [w[3]])[0] for r, w in zip(requests, wanted, strict=True)]
    for job, (image, words, given, seed) in zip(jobs, wanted, strict=True):
        alone = editor.edit(image, words, mask=given, seed=seed, fit="crop")
        assert job.future.result(60).image.tobytes() == alone.image.tobytes()
    assert 'jaxedit_batch_size_bucket{le="2.0",model="tiny"}' in service.metrics.text().decode()


def test_edits_of_one_kind_share_a_batch(fake):
    with fake(max_batch=3, batch_wait_ms=0) as (client, service, editor, _):
        editor.may_edit.clear()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(client.post, "/v1/images/edits", **form())
            wait_for(lambda: editor.batches)  # the others wait behind it
            answers = []
            for seed, guidance in ((1, 1), (2, 2), (3, 1), (4, 1)):
                fields = form(seed=str(seed), guidance=str(guidance))
                answers.append(pool.submit(client.post, "/v1/images/edits", **fields))
                wait_for(lambda: len(service.queue) == len(answers))  # noqa: B023
            editor.may_edit.set()
            assert {a.result().status_code for a in (first, *answers)} == {200}
        assert editor.batches == [[0], [1, 3, 4], [2]]
        numbers = client.get("/metrics").text
    assert 'jaxedit_batch_size_sum{model="tiny"} 5.0' in numbers
    assert 'jaxedit_requests_total{code="200",route="/v1/images/edits"} 5.0' in numbers
    assert "jaxedit_queue_length 0.0" in numbers


def test_a_full_queue_says_when_to_ask_again(fake):
    with fake(max_queue=10) as (client, service, editor, _):
        editor.may_edit.clear()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(client.post, "/v1/images/edits", **form())
            wait_for(lambda: editor.batches)
            many = pool.submit(client.post, "/v1/images/edits", **form(n="10"))
            wait_for(lambda: len(service.queue) == 10)
            answer = client.post("/v1/images/edits", **form())
            assert error_of(answer, 429)["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
            editor.may_edit.set()
            assert first.result().status_code == 200 and len(many.result().json()["data"]) == 10


def test_a_client_that_leaves_frees_its_place(fake):
    with fake() as (client, service, editor, _):
        editor.may_edit.clear()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(client.post, "/v1/images/edits", **form())
            wait_for(lambda: editor.batches)
            request = client.build_request("POST", "/v1/images/edits", **form(n="3"))
            leaving = http.client.HTTPConnection(urllib.parse.urlsplit(str(client.base_url)).netloc)
            leaving.request("POST", "/v1/images/edits", request.read(), dict(request.headers))
            wait_for(lambda: len(service.queue) == 3)
            leaving.close()
            wait_for(lambda: len(service.queue) == 0)
            editor.may_edit.set()
            assert first.result().status_code == 200
        assert editor.batches == [[0]]
        wait_for(lambda: 'code="499"' in service.metrics.text().decode())


def test_an_edit_that_takes_too_long(fake):
    with fake(timeout=0.5) as (client, service, editor, _):
        editor.may_edit.clear()
        error = error_of(client.post("/v1/images/edits", **form()), 504)
        assert error["code"] == "timeout"
        editor.may_edit.set()
        assert client.post("/v1/images/edits", **form()).status_code == 200


def test_a_failure_tells_nothing_and_ends_nothing(fake):
    with fake() as (client, _, editor, _):
        editor.failure = ValueError("a secret\nof the server")
        error = error_of(client.post("/v1/images/edits", **form()), 500)
        assert error["message"] == "the server failed; its log says why"
        editor.failure = None
        assert client.post("/v1/images/edits", **form()).status_code == 200


def test_the_end_waits_for_edits(fake):
    with fake() as (client, service, editor, server):
        editor.may_edit.clear()
        with ThreadPoolExecutor() as pool:
            last = [pool.submit(client.post, "/v1/images/edits", **form()) for _ in range(2)]
            wait_for(lambda: editor.batches and len(service.queue) == 1)
            server.should_exit = True
            threading.Timer(0.3, editor.may_edit.set).start()
            assert {answer.result().status_code for answer in last} == {200}


def test_health_before_and_after_the_first_model(fake, tiny_model):
    with fake() as (client, service, *_):
        assert client.get("/health").text == "ok\n"
        assert client.get("/ready").json() == {"ready": True}
        service.warm_up = type(service.warm_up)()
        assert client.get("/ready").status_code == 503


@pytest.mark.parametrize("has_words", [False, True])
def test_the_log_has_no_instructions_unless_asked(fake, caplog, has_words):
    caplog.set_level("INFO")
    with fake(log_prompts=has_words) as (client, *_):
        assert client.post("/v1/images/edits", **form()).status_code == 200
    assert "POST /v1/images/edits: 200" in caplog.text and (WORDS in caplog.text) == has_words
