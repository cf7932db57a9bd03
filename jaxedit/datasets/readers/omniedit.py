"""OmniEdit, 1.2 million edits of six kinds, made by specialist models.

Source: TIGER-Lab/OmniEdit-Filtered-1.2M on the Hub; Wei et al. 2024.
"""

import zlib
from collections.abc import Mapping
from typing import Any

from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import ParquetSet, text

# OmniEdit's task -> PIE-Bench's type; the other tasks contain several types.
_EDIT_TYPES = {"swap": 1, "addition": 2, "removal": 3, "style": 9}


class OmniEdit(ParquetSet):
    """OmniEdit-Filtered-1.2M; the score is `o_score`, 0 to 10."""

    name = "omniedit"
    needs = {
        "source": ("src_img",),
        "target": ("edited_img",),
        "instruction": ("edited_prompt_list",),
    }
    extras = {"edit_type_raw": ("task",), "score": ("o_score",)}

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair; of several wordings of the instruction, the key selects one."""
        value = row["instruction"]
        wordings = [x for x in value if text(x)] if isinstance(value, list) else [value]
        chosen = wordings[zlib.crc32(key.encode()) % len(wordings)] if wordings else ""
        result = super().example(key, {**row, "instruction": chosen})
        if isinstance(result, Drop):
            return result
        return result._replace(edit_type=_EDIT_TYPES.get(result.edit_type_raw, -1))
