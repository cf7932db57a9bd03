"""MultiGen-20M, pictures with their depth maps or edges, as in ControlNet++.

The training files contain pictures of the evaluation sets: drop near duplicates before FID is
reported.

Sources: limingcv/MultiGen-20M_depth (2,810,604 rows) and limingcv/MultiGen-20M_train on the Hub;
ControlNet++ (Li et al. 2024).
"""

from jaxedit.datasets.readers.parquet_files import ParquetSet


class MultiGenDepth(ParquetSet):
    """MultiGen-20M_depth: `control_depth` to `image` by the caption `text`."""

    name = "multigen-depth"
    task = "depth"
    needs = {"source": ("control_depth",), "target": ("image",), "instruction": ("text",)}


class MultiGenCanny(ParquetSet):
    """MultiGen-20M_train: its own `canny` to `image` by the caption `text`.

    EditAR instead computes edges from the targets of MultiGen-20M_depth.
    """

    name = "multigen-canny"
    keeps_labels = True
    task = "canny"
    needs = {"source": ("canny",), "target": ("image",), "instruction": ("text",)}
