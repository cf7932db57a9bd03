"""Readers of published data sets in their own layouts on a local disk, by name."""

import inspect
import os
from typing import TYPE_CHECKING

from jaxedit.config import require
from jaxedit.config.family import load

if TYPE_CHECKING:
    from jaxedit.datasets.readers.example import Published

DATASETS: dict[str, str] = {
    "pairs": "pairs:Pairs",
    "seed-unsplash": "seed:SeedUnsplash",
    "seed-openimages": "seed:SeedOpenImages",
    "seed-real": "seed:SeedReal",
    "seed-multiturn": "seed:SeedMultiturn",
    "imgedit": "imgedit:ImgEdit",
    "instructpix2pix": "instructpix2pix:open_instructpix2pix",
    "pipe": "pipe:Pipe",
    "multigen-depth": "parquet_maps:MultiGenDepth",
    "multigen-canny": "parquet_maps:MultiGenCanny",
    "cocostuff": "parquet_maps:CocoStuff",
    "magicbrush": "parquet_edits:MagicBrush",
    "omniedit": "parquet_edits:OmniEdit",
    "ultraedit": "parquet_edits:UltraEdit",
    "anyedit": "parquet_edits:AnyEdit",
}


def open_published(
    name: str, directory: str | os.PathLike, scratch: str | os.PathLike | None = None
) -> "Published":
    """Open a data set of `DATASETS`.

    Args:
      scratch: where archives are unpacked or indexed; default: in the directory.

    Raises:
      ConfigError: the name is unknown, the directory does not have the published layout, or
        `scratch` is given for a data set without archives.
    """
    require(name in DATASETS, f"--dataset={name}: expected one of {', '.join(DATASETS)}")
    reader = load(f"{__name__}.{DATASETS[name]}")
    if scratch is None:
        return reader(directory)
    unpacks = "scratch" in inspect.signature(reader).parameters
    require(unpacks, f"--scratch={scratch}: {name} has no archives to unpack")
    return reader(directory, scratch=scratch)
