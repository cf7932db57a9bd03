"""The guards: keys, rates, and the size of a request."""

import pytest
from serving import error_of, form

from jaxedit.config import ConfigError
from jaxedit.serve.errors import APIError
from jaxedit.serve.limits import RateLimit, read_keys

KEY = "sk-0123456789abcdef"


def test_a_key_is_asked_for(fake, tmp_path):
    (tmp_path / "keys").write_text(f"# ours\n{KEY}\n\nsk-another-secret-key\n")
    with fake(api_key_file=str(tmp_path / "keys")) as (client, *_):
        for key in ("", "Bearer", f"Bearer {KEY}x", f"Basic {KEY}", "Bearer \xe9"):
            headers = {"authorization": key.encode("latin-1")}
            answer = client.post("/v1/images/edits", **form(), headers=headers)
            assert error_of(answer, 401)["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
        bearer = {"authorization": f"Bearer {KEY}"}
        assert client.post("/v1/images/edits", **form(), headers=bearer).status_code == 200
        assert client.get("/v1/models").status_code == 401
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "text, message",
    [("# none\n", "expected at least one key"), ("short\n", "key 1: expected 16 or more letters")],
)
def test_files_without_good_keys(tmp_path, text, message):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_keys(str(tmp_path / "keys"))
    with pytest.raises(OSError, match="--api_key_file=.*No such file"):
        read_keys(str(tmp_path / "missing"))


def test_a_rate(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limit = RateLimit(2.0)  # a minute
    for _ in range(2):
        limit.count(b"a")
    with pytest.raises(APIError, match="more than 2 requests a minute: ask again in 30 s") as error:
        limit.count(b"a")
    assert error.value.headers == {"Retry-After": "30"} and error.value.status == 429
    limit.count(b"b")
    now = 30.0
    limit.count(b"a")


def test_large_requests_are_refused(fake):
    with fake(max_upload_mb=0.01, rate_limit=1000.0) as (client, _, editor, _):
        error_of(client.post("/v1/images/edits", **form(prompt="a" * 20_000)), 413)

        def parts():  # of a length that nobody tells before
            yield b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
            for _ in range(20):
                yield b"a" * 1000

        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = client.post("/v1/images/edits", content=parts(), headers=headers)
        assert "expected at most 0.01 MB" in error_of(answer, 413)["message"]
        assert not editor.batches
