"""MultiGen-20M, pictures with their depth maps or edges, as used by ControlNet++.

The training files contain pictures of the evaluation sets: drop near duplicates before reporting
FID.

Sources: limingcv/MultiGen-20M_depth (2,810,604 rows) and limingcv/MultiGen-20M_train on the Hub;
ControlNet++ (Li et al. 2024).
"""

from jaxedit.datasets.readers.parquet_files import ParquetSet


class MultiGenDepth(ParquetSet):
    """MultiGen-20M_depth: from `control_depth` to `image`, with the caption `text`."""

    name = "multigen-depth"
    task = "depth"
    needs = {"source": ("control_depth",), "target": ("image",), "instruction": ("text",)}


class MultiGenCanny(ParquetSet):
    """MultiGen-20M_train: from its own edges `canny` to `image`, with the caption `text`.

    EditAR does not use these edges; it computes edges from the targets of MultiGen-20M_depth.
    """

    name = "multigen-canny"
    keeps_labels = True
    task = "canny"
    needs = {"source": ("canny",), "target": ("image",), "instruction": ("text",)}
