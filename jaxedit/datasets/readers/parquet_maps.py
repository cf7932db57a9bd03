"""Pictures with their depth maps, edges or segmentation maps, as used by ControlNet++.

Sources: limingcv/MultiGen-20M_depth (2,810,604 rows), limingcv/MultiGen-20M_train and
limingcv/Captioned_COCOStuff on the Hub; ControlNet++ (Li et al. 2024); COCO-Stuff (Caesar et al.
2018).
"""

from jaxedit.datasets.readers.parquet_files import ParquetSet


class MultiGenDepth(ParquetSet):
    """MultiGen-20M_depth: from `control_depth` to `image`, with the caption `text`.

    Here and in MultiGen-20M_train, training files contain pictures of the evaluation sets: drop
    near duplicates before reporting FID.
    """

    name = "multigen-depth"
    task = "depth"
    needs = {"source": "control_depth", "target": "image", "instruction": "text"}


class MultiGenCanny(ParquetSet):
    """MultiGen-20M_train: from its own edges `canny` to `image`, with the caption `text`.

    EditAR does not use these edges; it computes edges from the targets of MultiGen-20M_depth.
    """

    name = "multigen-canny"
    keeps_labels = True
    task = "canny"
    needs = {"source": "canny", "target": "image", "instruction": "text"}


class CocoStuff(ParquetSet):
    """Captioned_COCOStuff: from the map in palette colours to `image`, with the caption `prompt`.

    `panoptic_seg_map`, the labels themselves, is for evaluation only.
    """

    name = "cocostuff"
    keeps_labels = True
    task = "segmentation"
    needs = {"source": "control_seg", "target": "image", "instruction": "prompt"}
