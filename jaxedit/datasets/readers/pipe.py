"""PIPE, a million pictures from which an object was removed by inpainting, as edits that add it.

Sources: paint-by-inpaint/PIPE and paint-by-inpaint/PIPE_Masks on the Hub; Wasserman et al. 2024.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import ParquetSet
from jaxedit.datasets.readers.pipe_masks import KEY, PipeMasks

_ADD = 2  # PIE-Bench's type; swapped, the same pair removes the object


class Pipe(ParquetSet):
    """PIPE's training rows: from the picture without the object to the picture with it.

    Of the three instruction columns, the first that is not empty is used: `Instruction_VLM-LLM`
    (the only column that EditAR uses), the class's, the referring instruction. The object's
    location is stored in `edit_type_raw`; PIPE's own loader adds it to a quarter of the texts.
    Pairs made from the same picture are a group.

    Masks are read from `PIPE_Masks` if it is downloaded into the directory or beside it.
    """

    name = "pipe"
    needs = {
        "source": ("source_img",),
        "target": ("target_img",),
        "instruction": ("Instruction_VLM-LLM",),
    }
    extras = {
        "class": ("Instruction_Class",),
        "referring": ("Instruction_Ref_Dataset",),
        "edit_type_raw": ("object_location",),
        **{column: (column,) for column in KEY},
    }

    def __init__(self, directory: str | os.PathLike) -> None:
        """Find the files, as `ParquetSet` does, and the masks."""
        super().__init__(directory)
        directory = pathlib.Path(directory).resolve()
        places = (directory / "PIPE_Masks", directory.parent / "PIPE_Masks")
        self._masks = next((PipeMasks(place) for place in places if place.is_dir()), None)

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair, with its first instruction that is not empty, and its mask."""
        texts = [row["instruction"], row.get("class"), row.get("referring")]
        result = super().example(key, {**row, "instruction": texts})
        if isinstance(result, Drop):
            return result
        dataset, image, annotation = (row.get(column) for column in KEY)
        return result._replace(
            edit_type=_ADD,
            group=f"{dataset}/{image}" if image else "",
            mask=self._masks.find((dataset, image, annotation)) if self._masks else None,
        )
