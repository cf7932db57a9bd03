import base64
import io
import re

import numpy as np
from PIL import Image

from jaxedit.editor.show import as_html, side_by_side

RED, BLUE = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (2000, 1000), "blue")


def test_small_pictures_are_enlarged_and_large_ones_made_smaller():
    sheet = np.asarray(side_by_side([RED, BLUE], ["source", "seed 0"], "make it blue"))
    assert (sheet == (255, 0, 0)).all(-1).sum() == 192 * 144
    assert (sheet == (0, 0, 255)).all(-1).sum() == 512 * 256
    assert (sheet[:40] < 255).any(), "title and captions"


def test_html_stands_alone_and_can_be_read_aloud():
    text = as_html(RED, 'say "hi" & <go>')
    assert 'alt="say &quot;hi&quot; &amp; &lt;go&gt;"' in text
    data = re.search(r"base64,([^\"]+)", text)[1]
    np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(data))), RED)
