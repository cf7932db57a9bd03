"""Pictures and their files for tests of the server."""

import io

import numpy as np
from PIL import Image

WORDS = "make the ball blue"


def picture(width=24, height=16, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def file_of(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()
