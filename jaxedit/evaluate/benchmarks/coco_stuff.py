"""Captioned COCO-Stuff's validation set: 5,000 photographs from coloured maps of 171 classes.

Parquet files of limingcv/Captioned_COCOStuff on the Hub.
"""

import pathlib

from jaxedit.evaluate.benchmarks.translation import read_translation
from jaxedit.evaluate.sample import Benchmark


def read_coco_stuff(directory: pathlib.Path, group: int = 0) -> Benchmark:
    """Read the maps; labels are the classes themselves, 255 where there is none."""
    return read_translation(
        directory,
        group,
        name="coco-stuff",
        task="segmentation",
        prompt="prompt",
        source="control_seg",
        labels="panoptic_seg_map",
        scores=("fid", "miou"),
    )
