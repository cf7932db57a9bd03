"""EMU-Edit's test set: 3,589 edits of eight types, with captions before and after.

Parquet files of facebook/emu_edit_test_set on the Hub. Its splits test and validation are swapped
in the set with Emu Edit's own edits, so that the number of rows decides.

Source: Sheynin et al. 2024, "Emu Edit".
"""

import logging
import pathlib

from jaxedit.config import ConfigError
from jaxedit.evaluate.benchmarks.parquet_rows import read_rows
from jaxedit.evaluate.sample import Benchmark, Sample

log = logging.getLogger(__name__)

_COUNT = 3589  # rows of the test set that is reported
_TEXTS = {
    "key": "idx",
    "instruction": "instruction",
    "type": "task",
    "source_prompt": "input_caption",
    "target_prompt": "output_caption",
}


def read_emu_edit(directory: pathlib.Path) -> Benchmark:
    """Read EMU-Edit's test set; see `registry.Reader`."""
    pictures = {"source": "image"}
    rows = read_rows(directory, "test", texts=_TEXTS, pictures=pictures)
    if len(rows) != _COUNT:
        try:
            others = read_rows(directory, "validation", texts=_TEXTS, pictures=pictures)
        except ConfigError:  # not downloaded
            others = []
        rows = others if len(others) == _COUNT else rows
    if len(rows) != _COUNT:
        log.warning("%s: %d edits; papers report %d", directory, len(rows), _COUNT)
    return Benchmark(
        name="emu-edit",
        samples=tuple(Sample(**row) for row in rows),
        scores=("clip_out", "clip_dir", "clip_im", "l1_source", "dino_source"),
        judge="varedit",
    )
