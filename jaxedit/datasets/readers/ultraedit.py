"""UltraEdit, 4 million edits by text and, for some rows, by region.

Source: BleachNick/UltraEdit, UltraEdit_500k and UltraEdit_Region_Based_100k on the Hub; Zhao et al.
2024.
"""

from jaxedit.datasets.readers.parquet_files import ParquetSet


class UltraEdit(ParquetSet):
    """UltraEdit in any of its releases.

    Each `FreeForm_<k>` is a split of its own, and column names differ between the releases: all
    splits are read, and columns are found by any of their names.
    """

    name = "ultraedit"
    splits = ()
    needs = {
        "source": ("source_image", "source_img", "original_image", "input_image", "image"),
        "target": ("edited_image", "edited_img", "target_image", "target_img", "output_image"),
        "instruction": ("edit_prompt", "edit_instruction", "instruction", "edit", "prompt"),
    }
    extras = {
        "mask": ("mask_image", "mask_img", "mask"),
        "source_caption": ("source_caption", "original_caption", "input_caption"),
        "target_caption": ("target_caption", "edited_caption", "output_caption"),
    }
