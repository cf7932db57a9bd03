"""MultiGen-20M's evaluation sets: 5,000 photographs from their depth maps or their edges.

Parquet files of limingcv/MultiGen-20M_depth_eval and limingcv/MultiGen-20M_canny_eval on the Hub.
"""

import pathlib

from jaxedit.evaluate.benchmarks.translation import Edges, read_translation
from jaxedit.evaluate.sample import Benchmark


def read_multigen_depth(directory: pathlib.Path, group: int = 0) -> Benchmark:
    """Read the depth maps, which are conditions and labels; see `registry.Reader`."""
    return read_translation(
        directory,
        group,
        name="multigen-depth",
        task="depth",
        prompt="text",
        source="control_depth",
        labels="control_depth",
        scores=("fid", "depth_rmse"),
    )


def read_multigen_canny(directory: pathlib.Path, group: int = 0) -> Benchmark:
    """Read the photographs, whose edges are the conditions; see `registry.Reader`."""
    return read_translation(
        directory,
        group,
        name="multigen-canny",
        task="canny",
        prompt="text",
        source="image",
        condition=Edges,
        scores=("fid", "edge_ms_ssim", "edge_f1"),
    )
