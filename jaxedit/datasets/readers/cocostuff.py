"""Captioned COCO-Stuff, pictures with their segmentation maps, as in ControlNet++.

Source: limingcv/Captioned_COCOStuff on the Hub; Caesar et al. 2018, Li et al. 2024.
"""

from jaxedit.datasets.readers.parquet_files import ParquetSet


class CocoStuff(ParquetSet):
    """Captioned_COCOStuff: from the map in palette colours to `image`, with the caption `prompt`.

    `panoptic_seg_map`, the labels themselves, is for evaluation only.
    """

    name = "cocostuff"
    keeps_labels = True
    task = "segmentation"
    needs = {"source": ("control_seg",), "target": ("image",), "instruction": ("prompt",)}
