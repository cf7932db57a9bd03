"""Servers on free ports: of the small editor with random weights, and of fake editors."""

import contextlib

import httpx2
import pytest
from serving import WORDS, FakeEditor, file_of, listening, picture

from jaxedit import Editor
from jaxedit.config import ServeConfig
from jaxedit.serve.app import create_app
from jaxedit.serve.service import EditService


@pytest.fixture(scope="session")
def editor(tiny_model):
    """The editor behind `address`, loaded once."""
    return Editor.from_pretrained(tiny_model, rows_per_device=2)


@pytest.fixture(scope="session")
def service(tiny_model, editor):
    """The service behind `address`: two edits at once."""
    config = ServeConfig(max_batch=2, batch_wait_ms=20)
    return EditService(config, [str(tiny_model)], load=lambda name: editor)


@pytest.fixture(scope="session")
def address(service):
    """The address of a server that is ready."""
    with listening(create_app(service)) as (address, _):
        service.warm_up.result(300)
        yield address


@pytest.fixture(scope="session")
def client(address):
    """An HTTP client of that server."""
    with httpx2.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture
def edit(client):
    """`edit(image, **fields)` posts a form and returns the answer."""

    def post(image=None, files=(), **fields):
        image = file_of(picture()) if image is None else image
        files = {"image": ("photo.png", image, "image/png"), **dict(files)}
        return client.post("/v1/images/edits", files=files, data={"prompt": WORDS} | fields)

    return post


@pytest.fixture
def fake(tiny_model):
    """`with fake(**settings) as (client, service, editor, server)`: the same without a network."""

    @contextlib.contextmanager
    def start(**settings):
        editor, config = FakeEditor(tiny_model), ServeConfig(**settings)
        config.validate()
        service = EditService(config, [str(tiny_model)], load=lambda name: editor)
        with listening(create_app(service)) as (address, server):
            service.warm_up.result(20)
            try:
                with httpx2.Client(base_url=address, timeout=30) as client:
                    yield client, service, editor, server
            finally:
                editor.may_edit.set()

    return start
