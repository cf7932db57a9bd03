import io
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxedit.data.pictures import png_chunks, png_writer


@pytest.mark.parametrize("shape", [(7, 5, 3), (7, 5), (1, 1, 3), (64, 300, 3)])
def test_pillow_reads_the_same_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    file = png_writer.encode(Image.fromarray(pixels), [(b"tEXt", b"key\0value")])
    with Image.open(io.BytesIO(file)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        assert image.text == {"key": "value"}
    assert all(chunk.is_sound for chunk in png_chunks.chunks(file))


def test_rows_by_hand():
    image = Image.fromarray(np.array([[10, 20], [15, 19]], np.uint8))
    found = {chunk.name: chunk for chunk in png_chunks.chunks(png_writer.encode(image))}
    # the filter's number, and the differences from the row above
    assert zlib.decompress(found[b"IDAT"].content) == bytes([2, 10, 20, 2, 5, 255])


def test_other_modes_are_refused():
    with pytest.raises(OSError, match="mode CMYK as PNG: expected L or RGB"):
        png_writer.encode(Image.new("CMYK", (1, 1)))
