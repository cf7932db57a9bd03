"""AnyEdit, 2.5 million edits of 25 kinds.

Source: Bin1117/AnyEdit on the Hub; Yu et al. 2024.
"""

from collections.abc import Mapping
from typing import Any

from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import ParquetSet, picture, text

# AnyEdit's kind -> PIE-Bench's type; the other kinds have no counterpart.
_EDIT_TYPES = {
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


class AnyEdit(ParquetSet):
    """AnyEdit without the rows whose edit needs a second input picture.

    The files are grouped by kind, and the first files contain only `visual_depth`: a few files are
    not a sample of the whole.
    """

    name = "anyedit"
    needs = {
        "source": ("image_file",),
        "target": ("edited_file",),
        "instruction": ("edit_instruction", "edit"),
    }
    extras = {
        "edit_type_raw": ("edit_type",),
        "source_caption": ("input",),
        "target_caption": ("output",),
        "second": ("visual_input",),
    }

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair, with PIE-Bench's edit type if the kind has a counterpart."""
        kind, second = text(row.get("edit_type_raw")), row.get("second")
        named = text(second) not in ("", "None")  # a path; "None" stands for no path
        if picture(second) or named or kind.startswith("visual_"):
            return Drop(key, "several inputs")
        result = super().example(key, row)
        if isinstance(result, Drop):
            return result
        return result._replace(edit_type=_EDIT_TYPES.get(kind, -1))
