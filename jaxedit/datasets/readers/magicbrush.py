"""MagicBrush, 10 thousand manual edits in up to three turns.

Source: osunlp/MagicBrush on the Hub (8,807 training rows); Zhang et al. 2023. Its test set is
published as an archive with a password and must not be passed on.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.data.pictures import picture_file
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import ParquetSet


class MagicBrush(ParquetSet):
    """MagicBrush's training rows.

    The source of a later turn is the target of the turn before, so that each turn is a pair; the
    turns of a picture are a group.
    """

    name = "magicbrush"
    needs = {"source": ("source_img",), "target": ("target_img",), "instruction": ("instruction",)}
    extras = {"mask": ("mask_img",), "group": ("img_id",), "turn": ("turn_index",)}

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair, its mask white where the edit may change pixels."""
        result = super().example(key, row)
        if isinstance(result, Drop) or result.mask is None:
            return result
        return result._replace(mask=white_mask(result.mask))


def white_mask(encoded: bytes) -> bytes | None:
    """Convert a mask as published by MagicBrush to grey: white where the edit may change pixels.

    Published is the picture itself with the region cut out: transparent, or black where the
    transparency was lost. Other pixels have no meaning.

    Returns:
      A PNG; None if no region is marked; the input if it is not a picture.

    Source: the authors' answer in OSU-NLP-Group/MagicBrush, issue 10.
    """
    try:
        pixels = np.asarray(picture_file.load(io.BytesIO(encoded), "mask").convert("RGBA"))
    except ValueError:  # reported when the mask is decoded for the store
        return encoded
    alpha = pixels[..., 3]
    region = 255 - alpha if alpha.min() < 255 else 255 * (pixels[..., :3] == 0).all(-1)
    if not region.any():
        return None
    file = io.BytesIO()
    Image.fromarray(region.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
