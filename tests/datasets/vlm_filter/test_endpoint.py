import pytest

from jaxedit.config import ConfigError
from jaxedit.datasets.vlm_filter.endpoint import Endpoint, Refused, content_of


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://host:8000", "http://host:8000/v1/chat/completions"),
        ("http://host/v1/", "http://host/v1/chat/completions"),
        ("https://host/a/chat/completions?b=1", "https://host/a/chat/completions?b=1"),
    ],
)
def test_addresses(url, asked):
    assert Endpoint(url).url == asked


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://"])
def test_no_addresses(url):
    with pytest.raises(ConfigError, match="expected http"):
        Endpoint(url)


def test_a_busy_server_is_asked_again(server):
    server.script += [(503, "loading"), (429, "slow down"), (200, "not JSON"), (200, "yes")]
    assert Endpoint(server.url, key="secret", delay=0.01).ask({"model": "m"}) == "yes"
    assert len(server.requests) == 4
    assert server.requests[-1] == ({"model": "m"}, "Bearer secret")


def test_the_last_failure_is_told(server):
    server.script += [(500, "no GPU\nleft")] * 3
    with pytest.raises(OSError, match=r"HTTP 500: no GPU left \(after 3 attempts\)"):
        Endpoint(server.url, retries=2, delay=0.01).ask({})


@pytest.mark.parametrize(("code", "kind"), [(401, OSError), (404, OSError), (400, Refused)])
def test_errors_that_stay_are_not_tried_again(server, code, kind):
    server.script += [(code, "wrong")]
    with pytest.raises(kind, match=f"HTTP {code}: wrong$") as error:
        Endpoint(server.url).ask({})
    assert isinstance(error.value, Refused) == (kind is Refused)
    assert len(server.requests) == 1


def test_no_server():
    with pytest.raises(OSError, match=r"127.0.0.1:9/v1/chat/completions: .*\(after 2 attempts\)"):
        Endpoint("http://127.0.0.1:9", retries=1, delay=0.01).ask({})


@pytest.mark.parametrize("response", [[], {"choices": []}, {"choices": [{"message": {}}]}, None])
def test_responses_without_a_text(response):
    with pytest.raises(ValueError, match="message.content"):
        content_of(response)
    with pytest.raises(ValueError, match="expected a text"):
        content_of({"choices": [{"message": {"content": None}}]})
