"""The application: its description, its clients, and errors outside the API."""

import base64
import io

import openai
from PIL import Image
from serving import WORDS, error_of, file_of, picture

from jaxedit.serve.fields import FIELDS


def test_the_openai_package_edits_a_picture(address, editor, tmp_path):
    """As its documentation says; settings of the model go into `extra_body`."""
    path = tmp_path / "photo.png"
    path.write_bytes(file_of(picture()))
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0)
    with path.open("rb") as photo:
        answer = client.images.edit(
            image=photo,
            prompt=WORDS,
            n=2,
            output_format="png",
            response_format="b64_json",
            extra_body={"seed": 5, "guidance": 2.0},
        )
    for seed, made in enumerate(answer.data, 5):
        image = Image.open(io.BytesIO(base64.b64decode(made.b64_json)))
        alone = editor.edit(picture(), WORDS, seed=seed, guidance=2.0).image
        assert image.tobytes() == alone.tobytes()
    assert [model.id for model in client.models.list()] == ["tiny"]
    client.close()


def test_the_description_has_every_field(client):
    description = client.get("/openapi.json").json()
    body = description["paths"]["/v1/images/edits"]["post"]["requestBody"]
    properties = body["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(properties) == {"image", "mask", *FIELDS}
    assert properties["temperature"]["description"] and properties["n"]["maximum"] == 10
    assert properties["top_p"] == {
        "type": "number",
        "description": "nucleus, 1 = off; VAREdit 0.97",
        "exclusiveMinimum": 0.0,
        "maximum": 1.0,
    }


def test_the_page_of_the_fields_needs_no_other_host(client):
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/plain; charset=utf-8" and "://" not in page.text
    assert "top_p: nucleus, 1 = off; VAREdit 0.97 (a number)" in page.text.splitlines()
    assert all(f"\n{name}: " in page.text for name in FIELDS)


def test_the_description_has_every_answer(client):
    paths = client.get("/openapi.json").json()["paths"]
    edits = paths["/v1/images/edits"]["post"]["responses"]
    assert set(edits) == {"200", "400", "401", "404", "413", "415", "429", "500", "504"}
    assert "Retry-After" in edits["429"]["headers"]
    assert "WWW-Authenticate" in edits["401"]["headers"]
    for path, codes in (
        ("/v1/models", {"200", "401", "413", "429"}),
        ("/v1/models/{name}", {"200", "401", "404", "413", "429", "4XX"}),
        ("/health", {"200"}),
        ("/ready", {"200", "503"}),
    ):
        assert set(paths[path]["get"]["responses"]) == codes
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain"}


def test_errors_of_other_routes_and_methods(client):
    assert error_of(client.get("/v2/anything"), 404)["code"] == "not_found"
    assert error_of(client.get("/v1/images/edits"), 405)["code"] == "method_not_allowed"
    allowed = client.options("/v1/models", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in allowed.headers
