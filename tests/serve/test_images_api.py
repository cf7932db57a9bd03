"""The images API: what clients of OpenAI's API get, and each kind of bad input."""

import base64
import io

from PIL import Image
from serving import WORDS, picture


def pictures_of(answer):
    assert answer.status_code == 200, answer.text
    return [
        Image.open(io.BytesIO(base64.b64decode(made["b64_json"]))) for made in answer.json()["data"]
    ]


def test_an_edit_is_the_editors_own(edit, editor):
    (made,) = pictures_of(edit(seed="3", temperature="0.7"))
    alone = editor.edit(picture(), WORDS, seed=3, temperature=0.7).image
    assert made.tobytes() == alone.tobytes() and made.size == (24, 16)
