"""Pictures encoded as PNG, twice as fast as by Pillow, which tries five filters on every row."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxedit.data.pictures.png_chunks import MAGIC, make_chunk

_COLOUR_TYPES = {"L": 0, "RGB": 2}
_UP = 2  # the filter that subtracts the row above
# An edit of 512x512 pixels takes 2 to 4 ms and 49 to 124 KB; by Pillow at this level 5 to 8 ms and
# 50 to 127 KB, at its default, 6, 18 to 24 ms and 73 to 111 KB.
_LEVEL = 1


def encode(image: Image.Image, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a PNG file.

    Args:
      image: L or RGB.
      chunks: names and contents of further chunks, which stand before the pixels.

    Raises:
      OSError: the picture has another mode, as Pillow says it.
    """
    if image.mode not in _COLOUR_TYPES:
        raise OSError(f"cannot write mode {image.mode} as PNG: expected L or RGB")
    width, height = image.size
    rows = np.asarray(image).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]  # above it are zeros
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[image.mode], 0, 0, 0)
    pixels = zlib.compress(filtered, _LEVEL)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return MAGIC + b"".join(make_chunk(*part) for part in parts)
