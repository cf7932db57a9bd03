"""The images API: what clients of OpenAI's API get, and each kind of bad input."""

import base64
import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from serving import WORDS, error_of, file_of, picture

from jaxedit.editor import provenance


def pictures_of(answer):
    assert answer.status_code == 200, answer.text
    return [
        Image.open(io.BytesIO(base64.b64decode(made["b64_json"]))) for made in answer.json()["data"]
    ]


def test_edits_are_the_editors_own(edit, editor):
    answer = edit(seed="3", n="3", temperature="0.7", size="24x16", user="somebody")
    made = pictures_of(answer)
    for seed, image in enumerate(made, 3):
        alone = editor.edit(picture(), WORDS, seed=seed, temperature=0.7).image
        assert image.tobytes() == alone.tobytes() and image.size == (24, 16)
    assert made[0].tobytes() != made[1].tobytes()
    assert [row["seed"] for row in answer.json()["data"]] == [3, 4, 5]
    assert answer.json()["size"] == "24x16" and answer.json()["output_format"] == "png"


def test_a_png_carries_all_that_makes_it_again(edit, editor, tmp_path):
    data = file_of(picture())
    (made,) = edit(data, seed="1", model="tiny").json()["data"]
    (tmp_path / "edited.png").write_bytes(base64.b64decode(made["b64_json"]))
    settings = provenance.read_settings(tmp_path / "edited.png")
    assert settings["source_sha256"] == hashlib.sha256(data).hexdigest()
    assert settings["weights_sha256"] == editor.fingerprint and settings["seed"] == 1
    assert settings["model"] == "tiny"  # no folder of the server
    assert settings["source"] == "photo.png" and settings["instruction"] == WORDS


def test_openais_masks_and_the_fields_of_its_clients(client, editor):
    alpha = np.full((16, 24), 255, np.uint8)
    alpha[:14, 4:20] = 0
    mask = Image.merge("RGBA", [*picture().split(), Image.fromarray(alpha)])
    files = [
        ("image[]", ("../../etc/photo.jpg", file_of(picture()), "application/octet-stream")),
        ("mask", ("mask.png", file_of(mask), "image/png")),
    ]
    data = {"prompt": WORDS, "response_format": "b64_json", "quality": "auto"}
    options = {"fit": "crop", "keep_size": "true", "feather": "0"}
    answer = client.post("/v1/images/edits", files=files, data=data | options)
    (made,) = pictures_of(answer)
    alone = editor.edit(picture(), WORDS, mask=mask, fit="crop", keep_size=True, feather=0)
    assert made.tobytes() == alone.image.tobytes()
    outside = alpha > 0
    np.testing.assert_array_equal(np.asarray(made)[outside], np.asarray(picture())[outside])


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_formats(edit, kind):
    small, large = (
        edit(output_format=kind, output_compression=str(quality)) for quality in (5, 95)
    )
    (made,) = pictures_of(small)
    assert made.format.lower() == kind and made.size == (24, 16)
    assert len(small.json()["data"][0]["b64_json"]) < len(large.json()["data"][0]["b64_json"])


@pytest.mark.parametrize(
    "fields, param, message",
    [
        ({"prompt": ""}, "prompt", "prompt='': expected some words"),
        ({"prompt": "word " * 2000}, "prompt", "tokens: expected at most 32"),
        ({"temperature": "nan"}, "temperature", "temperature=nan: expected a positive number"),
        ({"guidance": "much"}, "guidance", "guidance='much': expected a number"),
        ({"guidance": "1," * 70}, "guidance", "expected a number, or one per scale"),
        ({"top_p": "1.5"}, "top_p", "top_p=1.5: expected a number in (0, 1]"),
        (
            {"dilation": "9" * 19, "method": "varedit+erec"},
            "dilation",
            "expected a whole number in [1, 255]",
        ),
        (
            {"growth": "257", "method": "varedit+erec"},
            "growth",
            "expected a whole number in [1, 255]",
        ),
        ({"tau_js": "0.1"}, "tau_js", "an option of method"),
        ({"method": "editar"}, "method", "method='editar': expected one of varedit"),
        ({"method": "magic"}, "method", "method='magic': expected varedit or"),
        ({"n": "0"}, "n", "n='0': expected a whole number from 1 to 10"),
        ({"n": "1000"}, "n", "n='1000': expected a whole number from 1 to 10"),
        ({"n": "2", "seed": "2147483647"}, "seed", "expected at most 2147483646 with n=2"),
        ({"seed": "-1"}, "seed", "seed='-1': expected a whole number from 0 to 2147483647"),
        ({"seed": "1" * 5000}, "seed", "expected a whole number"),
        ({"size": "512x512"}, "size", "size=512x512: expected auto or 24x16"),
        ({"size": "big"}, "size", "size='big': expected auto, or WIDTHxHEIGHT"),
        ({"response_format": "url"}, "response_format", "expected b64_json: this server keeps"),
        ({"background": "transparent"}, "background", "expected auto or opaque"),
        ({"stream": "true"}, "stream", "expected false"),
        ({"output_format": "gif"}, "output_format", "expected png or jpeg or webp"),
        ({"guidence": "2"}, "guidence", "'guidence': no such field; did you mean guidance?"),
        ({"recon_prompt": "x"}, "recon_prompt", "no such field"),
        ({"mask": "http://localhost/mask.png"}, "mask", "expected a picture file, found a text"),
        ({"task": "canny"}, "task", "task='canny': expected EditAR's weights"),
    ],
)
def test_wrong_fields_are_named(edit, fields, param, message):
    error = error_of(edit(**fields), 400)
    assert message in error["message"] and error["param"] == param


@pytest.mark.parametrize(
    "image, message",
    [
        (b"", "image: not a readable picture: the file is empty"),
        (b"just a text", "image: not a readable picture: text, no picture"),
        (file_of(picture(200, 200))[:-5000], "image: not a readable picture"),
        (file_of(Image.new("1", (40_000, 4))), "image: 40000x4 pixels: expected at most 32768"),
        (file_of(Image.new("1", (8_000, 8_000))), "expected at most 32768 a side and 50000000"),
    ],
    ids=["empty", "text", "truncated", "long", "large"],
)
def test_unreadable_pictures_are_refused(edit, image, message):
    error = error_of(edit(image), 400)
    assert message in error["message"] and error["param"] == "image"


def test_masks_that_do_not_fit(edit):
    for mask, message in (
        (picture(12, 8), "mask: 12x8 pixels: expected 24x16, as the image"),
        (Image.new("L", (24, 16)), "mask: an empty mask"),
    ):
        files = {"mask": ("mask.png", file_of(mask), "image/png")}
        error = error_of(edit(files=files.items()), 400)
        assert message in error["message"] and error["param"] == "mask"


def test_what_is_no_form_with_a_picture(client):
    url, photo = "/v1/images/edits", ("photo.png", file_of(picture()), "image/png")
    for options, status, message in (
        ({"json": {"image": "/etc/passwd"}}, 415, "expected multipart/form-data"),
        ({"files": {"image": photo}}, 400, "prompt is missing"),
        ({"files": {"other": (None, "1"), "image": photo}}, 400, "no such field"),
        ({"files": {"prompt": (None, WORDS)}}, 400, "image: 0 pictures: expected 1"),
        ({"files": [("image[]", photo)] * 2}, 400, "image: 2 pictures: expected 1"),
        ({"files": {"image": ("a", b"", "text/html")}}, 415, "'text/html': expected the Content-T"),
        ({"files": [("prompt", (None, WORDS))] * 2 + [("image", photo)]}, 400, "given twice"),
    ):
        assert message in error_of(client.post(url, **options), status)["message"]
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\n\r\n", b"--y\r\nContent-Disposition: form-data\r\n\r\n1\r\n--y--"):
        error_of(client.post(url, content=body, headers=broken), 400)


def test_models(client):
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "tiny" and model["methods"] == ["varedit", "varedit+erec"]
    assert client.get("/v1/models/tiny").json() == model
    error = error_of(client.get("/v1/models/gpt-image-1"), 404)
    assert error["code"] == "model_not_found" and "expected one of tiny" in error["message"]


def test_an_unknown_model(edit):
    error = error_of(edit(model="dall-e-2"), 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
