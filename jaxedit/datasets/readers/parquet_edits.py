"""AnyEdit, MagicBrush, OmniEdit and UltraEdit: edits in parquet files, all of similar columns."""

import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.data.pictures import picture_file
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import ParquetSet, picture, text


class AnyEdit(ParquetSet):
    """AnyEdit, 2.5 million edits of 25 kinds, without rows that need a second input picture.

    The files are grouped by kind, and the first files contain only `visual_depth`: a few files are
    not a sample of the whole.

    Source: Bin1117/AnyEdit on the Hub; Yu et al. 2024.
    """

    name = "anyedit"
    needs = {
        "source": "image_file",
        "target": "edited_file",
        "instruction": "edit_instruction edit",
    }
    extras = {
        "edit_type_raw": "edit_type",
        "source_caption": "input",
        "target_caption": "output",
        "second": "visual_input",
    }
    edit_types = {
        "replace": 1,
        "add": 2,
        "remove": 3,
        "action_change": 5,
        "color_alter": 6,
        "material_alter": 7,
        "material_change": 7,
        "background_change": 8,
        "style_change": 9,
    }

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair."""
        second = row.get("second")
        named = text(second) not in ("", "None")  # a path; "None" stands for no path
        if picture(second) or named or text(row.get("edit_type_raw")).startswith("visual_"):
            return Drop(key, "several inputs")
        return super().example(key, row)


class MagicBrush(ParquetSet):
    """MagicBrush's training rows, 8,807 manual edits in up to three turns.

    The source of a later turn is the target of the turn before, so that each turn is a pair; the
    turns of a picture are a group. The test set is published as an archive with a password and
    must not be passed on.

    Source: osunlp/MagicBrush on the Hub; Zhang et al. 2023.
    """

    name = "magicbrush"
    needs = {"source": "source_img", "target": "target_img", "instruction": "instruction"}
    extras = {"mask": "mask_img", "group": "img_id", "turn": "turn_index"}

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


class OmniEdit(ParquetSet):
    """OmniEdit-Filtered-1.2M: edits of six kinds, made by specialist models.

    The score is `o_score`, 0 to 10.

    Source: TIGER-Lab/OmniEdit-Filtered-1.2M on the Hub; Wei et al. 2024.
    """

    name = "omniedit"
    needs = {"source": "src_img", "target": "edited_img", "instruction": "edited_prompt_list"}
    extras = {"edit_type_raw": "task", "score": "o_score"}
    edit_types = {"swap": 1, "addition": 2, "removal": 3, "style": 9}

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair; of several wordings of the instruction, the key selects one."""
        value = row["instruction"]
        wordings = [x for x in value if text(x)] if isinstance(value, list) else [value]
        chosen = wordings[zlib.crc32(key.encode()) % len(wordings)] if wordings else ""
        return super().example(key, {**row, "instruction": chosen})


class UltraEdit(ParquetSet):
    """UltraEdit in any of its releases: 4 million edits by text and, for some rows, by region.

    Each `FreeForm_<k>` is a split of its own, and column names differ between the releases: all
    splits are read, and columns are found by any of their names.

    Source: BleachNick/UltraEdit, UltraEdit_500k and UltraEdit_Region_Based_100k on the Hub; Zhao et
    al. 2024.
    """

    name = "ultraedit"
    splits = ()
    needs = {
        "source": "source_image source_img original_image input_image image",
        "target": "edited_image edited_img target_image target_img output_image",
        "instruction": "edit_prompt edit_instruction instruction edit prompt",
    }
    extras = {
        "mask": "mask_image mask_img mask",
        "source_caption": "source_caption original_caption input_caption",
        "target_caption": "target_caption edited_caption output_caption",
    }
