"""The page without a browser: its routes, its checks, and what it makes."""

import asyncio
import base64
import urllib.parse
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
from PIL import Image
from serving import WORDS, FakeEditor, error_of, file_of, listening, picture

from jaxedit.config import ServeConfig
from jaxedit.editor import provenance
from jaxedit.serve.app import create_app
from jaxedit.serve.service import EditService

pytest.importorskip("gradio")

from jaxedit.serve.page.edit_event import error_of as told_of  # noqa: E402
from jaxedit.serve.page.edit_event import make  # noqa: E402
from jaxedit.serve.page.layout import Page  # noqa: E402

KEY = "k" * 20
JOIN = "/gradio_api/queue/join"


@pytest.fixture
def ask(service, address, tmp_path):
    """`ask(file, **values)` edits as the page does, and returns the files of the edits."""

    def edit(file=None, **values):
        path = tmp_path / "upload"
        path.write_bytes(file_of(picture()) if file is None else file)
        canvas = {"photo": {"path": str(path), "name": "photo.png"}} | values.pop("canvas", {})
        values = {"prompt": WORDS, "model": None, "seed": 0, "count": 1, "explains": False} | values
        done = []
        made = make(
            service, tmp_path, values | {"canvas": canvas}, lambda share, desc: done.append(share)
        )
        return asyncio.run(made)

    return edit


def test_edits_are_the_editors_own_and_make_themselves_again(ask, editor):
    drawn = Image.new("RGBA", (480, 320))
    drawn.paste("white", (80, 0, 400, 280))
    mask = "data:image/png;base64," + base64.b64encode(file_of(drawn)).decode()
    settings = {"fit": "crop", "keep_size": "true", "feather": "0"}
    (made,) = ask(seed=3.0, canvas={"mask": mask}, **settings)
    inside = np.zeros((16, 24), bool)
    inside[:14, 4:20] = True
    alone = editor.edit(
        picture(), WORDS, seed=3, mask=inside, fit="crop", keep_size=True, feather=0
    )
    image = Image.open(made.after)
    assert image.tobytes() == alone.image.tobytes()
    assert Image.open(made.before).tobytes() == picture().tobytes()
    found = provenance.read_settings(made.after)
    assert found["source"] == "photo.png" and found["seed"] == 3 and found["mask"] == "mask.png"
    assert found["mask_sha256"] == provenance.sha256(made.given_mask)
    assert dict(urllib.parse.parse_qsl(made.link)) == settings | {
        "prompt": WORDS,
        "model": "tiny",
        "seed": "3",
    }


def test_attention_is_drawn_on_demand(ask):
    (made,) = ask(explains=True)
    assert made.panel is None and made.mask is None  # of ERec alone
    with Image.open(made.attention) as drawn:
        assert drawn.width > 200
    (made,) = ask()
    assert made.attention is None


@pytest.mark.parametrize(
    "values, message",
    [
        ({"file": b"just a text"}, "image: not a readable picture: text, no picture"),
        ({"file": file_of(picture(200, 200))[:-5000]}, "image: not a readable picture"),
        ({"file": file_of(Image.new("1", (40_000, 4)))}, "image: 40000x4 pixels: expected at most"),
        ({"prompt": ""}, "prompt='': expected some words"),
        ({"prompt": "word " * 2000}, "tokens: expected at most 32"),
        ({"seed": -1}, "seed='-1': expected a whole number from 0 to 2147483647"),
        ({"seed": 2**31 - 1, "count": 4}, "expected at most 2147483644 with n=4"),
        ({"guidance": "<b>"}, "guidance=&#x27;&lt;b&gt;&#x27;: expected a number"),
        ({"temperature": "nan"}, "temperature=nan: expected a positive number"),
        ({"model": "other"}, "model=&#x27;other&#x27;: expected one of tiny"),
        ({"canvas": {"photo": None}}, "image: none: expected a photo: drop one on the page"),
        ({"canvas": {"photo": {"path": __file__}}}, "image: the file is not kept any more"),
        ({"canvas": {"mask": "http://localhost/mask.png"}}, "mask: expected a PNG file"),
    ],
)
def test_bad_input_gets_the_sentence_of_the_api(ask, service, values, message):
    with pytest.raises(Exception) as raised:
        ask(**values)
    shown = told_of(service, raised.value)
    assert message.replace("''", "&#x27;&#x27;").replace("'-1'", "&#x27;-1&#x27;") in shown.message
    assert len(shown.message.splitlines()) == 1


def test_a_mask_of_another_size_is_refused(ask, service, tmp_path):
    (tmp_path / "mask").write_bytes(file_of(Image.new("L", (5, 5), "white")))
    with pytest.raises(Exception, match="mask: 5x5 pixels: expected 24x16, as the image"):
        ask(canvas={"mask_file": {"path": str(tmp_path / "mask"), "name": "mask.png"}})


@pytest.fixture
def with_page(tiny_model, tmp_path):
    """`with_page(**settings)` serves the page and a fake editor."""

    def start(**settings):
        service = EditService(
            ServeConfig(**settings), [str(tiny_model)], load=lambda name: FakeEditor(tiny_model)
        )
        return listening(in_a_loop(create_app, service, has_page=True))

    return start


def in_a_loop(make, *args, **options):
    """Call a function where an event loop runs: elsewhere Gradio makes loops and leaves them."""

    async def call():
        return make(*args, **options)

    return asyncio.run(call())


def test_only_the_pages_routes_are_there(with_page, tmp_path):
    with with_page() as (address, _), httpx2.Client(base_url=address, timeout=20) as client:
        page = client.get("/")
        assert page.status_code == 200 and "jaxedit" in page.text
        assert client.get("/health").text == "ok\n"
        error_of(client.get("/v2/anything"), 404)
        wrong_method = client.put("/v1/models")
        error_of(wrong_method, 405)
        assert wrong_method.headers["allow"] == "GET"
        for route in ("info", "proxy=http://localhost", "file=http://localhost", "login_check"):
            error_of(client.get(f"/gradio_api/{route}"), 404)
        error_of(client.post("/gradio_api/run/edit", json={"data": []}), 404)
        error_of(client.post("/gradio_api/component_server", json={}), 404)
        secret = tmp_path / "secret.txt"
        secret.write_text("secret")
        assert client.get(f"/gradio_api/file={secret}").status_code == 403
        for path in ("http://localhost/photo.png", str(secret)):
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            event = {"data": [[{"any": file}]], "fn_index": 0, "session_hash": "a"}
            assert "expected no files" in error_of(client.post(JOIN, json=event), 400)["message"]
        error_of(client.post(JOIN, content=b"[" * 100_000), 400)


def test_the_page_asks_for_a_key_and_counts_uploads(with_page, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text(KEY)
    with with_page(api_key_file=str(keys), rate_limit=1.0) as (address, _):
        client = httpx2.Client(base_url=address, timeout=20)
        for path in ("/", "/config", "/assets/any.js", "/gradio_api/queue/data"):
            answer = client.get(path, auth=("me", "wrong"))
            error_of(answer, 401)
            assert answer.headers["www-authenticate"] == 'Basic realm="jaxedit"'
        assert client.get("/", auth=("me", KEY)).status_code == 200
        files = {"files": ("a.png", file_of(picture()), "image/png")}
        answers = [
            client.post("/gradio_api/upload", files=files, auth=("me", KEY)).status_code
            for _ in range(2)
        ]
        assert answers == [200, 429]
        client.close()


def test_a_link_fills_the_controls(service, tmp_path):
    page = in_a_loop(Page, service, tmp_path)
    names = ["prompt", "seed", "guidance", "method", "top_p"]
    query = {"prompt": "snow", "seed": "7", "method": "varedit+erec", "guidance": "2"}
    filled = page._filled(names)(SimpleNamespace(query_params=query))
    values = [update.get("value") for update in filled]
    assert values == ["snow", 7, "2", "varedit+erec", None]
