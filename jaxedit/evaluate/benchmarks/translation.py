"""The common layout of translation benchmarks: condition pictures of 512 px, edits in groups.

Source: ControlNet++ (Li et al. 2024), liming-ai/ControlNet_Plus_Plus, whose evaluation EditAR
follows.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from jaxedit.data.pictures import photo
from jaxedit.data.pictures.canny import edge_map
from jaxedit.evaluate.benchmarks.parquet_rows import Cell, encode, read_rows
from jaxedit.evaluate.sample import Benchmark, Sample

SIDE = 512  # pixels


@dataclasses.dataclass(frozen=True)
class Squared:
    """A condition picture, resized to 512 px in both directions without keeping its aspect."""

    cell: Cell

    def __call__(self) -> bytes:
        """Return the picture as PNG."""
        return encode(_square(self.cell))


@dataclasses.dataclass(frozen=True)
class Edges:
    """The edges of a photograph, after it was resized as `Squared`."""

    cell: Cell

    def __call__(self) -> bytes:
        """Return the edges, white on black, as PNG."""
        return encode(Image.fromarray(edge_map(np.asarray(_square(self.cell)))))


def read_translation(
    directory: pathlib.Path,
    group: int,
    *,
    name: str,
    task: str,
    prompt: str,
    source: str,
    scores: tuple[str, ...],
    labels: str = "",
    condition: Callable[[Cell], Callable[[], bytes]] = Squared,
) -> Benchmark:
    """Read the 5,000 rows of a validation split.

    Args:
      group: where `find_edit` looks; ControlNet++ draws four pictures for each row.
      prompt, source, labels: columns of the caption, the condition and the labels, if any.
      condition: makes the source of a sample from the column `source`.

    Raises:
      ConfigError: see `read_rows`.
    """
    pictures = {"source": source, "target": "image"} | ({"labels": labels} if labels else {})
    rows = read_rows(directory, "validation", texts={"text": prompt}, pictures=pictures)
    samples = tuple(
        Sample(
            key=str(i),
            source=condition(row["source"]),
            instruction=row["text"],
            task=task,
            target_prompt=row["text"],
            target=row["target"],
            labels=row.get("labels"),
        )
        for i, row in enumerate(rows)
    )
    return Benchmark(
        name=name,
        samples=samples,
        scores=scores,
        size=(SIDE, SIDE),
        find_edit=functools.partial(_find_edit, group=group),
    )


def _find_edit(folder: pathlib.Path, sample: Sample, *, group: int) -> pathlib.Path | None:
    """Return a picture that ControlNet++ or any other program has written, or None."""
    for base in (folder / f"images/group_{group}", folder / f"group_{group}", folder):
        if (path := base / f"{sample.key}.png").is_file():
            return path
    return None


def _square(cell: Cell) -> Image.Image:
    image = photo.decode(cell(), f"{cell.path}, {cell.column}")
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
