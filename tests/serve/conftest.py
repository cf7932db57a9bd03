"""A server of the small editor with random weights, two edits at once, without a network."""

import pytest
from fastapi.testclient import TestClient
from serving import WORDS, file_of, picture

from jaxedit import Editor
from jaxedit.config import ServeConfig
from jaxedit.serve.app import create_app
from jaxedit.serve.service import EditService


@pytest.fixture(scope="session")
def editor(tiny_model):
    """The editor behind every server, loaded and compiled once."""
    return Editor.from_pretrained(tiny_model, rows_per_device=2)


@pytest.fixture(scope="session")
def new_service(tiny_model, editor):
    """`new_service(**settings)`: a service that is not started."""

    def make(**settings):
        config = ServeConfig(**{"max_batch": 2} | settings)
        config.validate()
        return EditService(config, [str(tiny_model)], load=lambda name: editor)

    return make


@pytest.fixture(scope="session")
def service(new_service):
    """A service that all tests may use, behind `client`."""
    return new_service(batch_wait_ms=50)


@pytest.fixture(scope="session")
def client(service):
    """An HTTP client of that service, ready."""
    with TestClient(create_app(service)) as client:
        service.warm_up.result(120)
        yield client


@pytest.fixture
def edit(client):
    """`edit(image, **fields)` posts a form and returns the answer."""

    def post(image=None, files=(), **fields):
        image = file_of(picture()) if image is None else image
        files = {"image": ("photo.png", image, "image/png"), **dict(files)}
        return client.post("/v1/images/edits", files=files, data={"prompt": WORDS} | fields)

    return post
