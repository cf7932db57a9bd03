import email.utils
import time

import pytest

from jaxedit.chat.endpoint import Endpoint, Refused
from jaxedit.config import ConfigError


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
    with pytest.raises(ConfigError, match="expected the address of a server"):
        Endpoint(url)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk secret", "sk-ü"])
def test_keys_that_cannot_be_sent(key):
    with pytest.raises(ConfigError, match="key of http://host: expected") as caught:
        Endpoint("http://host", key=key)
    assert key not in str(caught.value)


def test_a_reply_never_shows_the_key(server):
    server.script += [(200, "your key is sk-secret")]
    assert Endpoint(server.url, key="sk-secret").ask({}) == "your key is ***"
    server.script += [(200, "[8, 1]")]
    assert Endpoint(server.url, key="1").ask({}) == "[8, 1]"


def test_retries_are_told_once(server, caplog):
    server.script += [(503, "loading"), (503, "still loading"), (200, "yes")]
    Endpoint(server.url, retries=2, delay=0.01).ask({})
    (record,) = caplog.records
    assert (
        record.message
        == f"{server.url}/chat/completions: HTTP 503: loading; asking again, up to 2 times"
    )


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


@pytest.mark.parametrize("wait", ["0", "0.01", email.utils.formatdate(0, usegmt=True)])
def test_the_server_says_how_long_to_wait(server, wait):
    server.script += [(429, "slow down", ("Retry-After", wait))]
    start = time.monotonic()
    assert Endpoint(server.url, delay=30).ask({}) == "yes"
    assert time.monotonic() - start < 5


def test_a_longer_wait_is_kept(server):
    server.script += [(429, "slow down", ("Retry-After", "1"))]
    start = time.monotonic()
    assert Endpoint(server.url, delay=0).ask({}) == "yes"
    assert time.monotonic() - start >= 1


def test_a_wait_that_says_nothing(server):
    server.script += [(429, "slow down", ("Retry-After", "soon"))]
    assert Endpoint(server.url, delay=0).ask({}) == "yes"


def test_a_server_that_hangs(server):
    server.script += [(200, lambda body: time.sleep(0.5) or "late")]
    assert Endpoint(server.url, delay=0, timeout=0.1).ask({}) == "yes"


def test_the_key_is_in_no_message(server):
    key = "sk-secret-0123"
    for padding in ("", "x" * 290):
        server.script += [(401, f"{padding} no such key: {key}")]
        with pytest.raises(OSError, match="HTTP 401") as error:
            Endpoint(server.url, key=key).ask({})
        assert "secret" not in str(error.value)
    assert server.requests[0][1] == f"Bearer {key}"
