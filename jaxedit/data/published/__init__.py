"""Published data sets in their own layouts on disk, by name."""

import importlib
import os

from jaxedit.config import require
from jaxedit.data.published.example import Published

DATASETS: dict[str, str] = {
    "pairs": "pairs:Pairs",
    "seed-unsplash": "seed:SeedUnsplash",
    "seed-openimages": "seed:SeedOpenImages",
    "seed-real": "seed:SeedReal",
    "seed-multiturn": "seed:SeedMultiturn",
    "imgedit": "imgedit:ImgEdit",
    "instructpix2pix": "instructpix2pix:open_instructpix2pix",
    "pipe": "pipe:Pipe",
    "multigen-depth": "multigen:MultiGenDepth",
    "multigen-canny": "multigen:MultiGenCanny",
    "cocostuff": "cocostuff:CocoStuff",
    "magicbrush": "magicbrush:MagicBrush",
    "omniedit": "omniedit:OmniEdit",
    "ultraedit": "ultraedit:UltraEdit",
    "anyedit": "anyedit:AnyEdit",
}


def open_published(name: str, directory: str | os.PathLike) -> Published:
    """A data set of `DATASETS` as it lies in a directory.

    Raises:
      ConfigError: the name is unknown, or the directory has not the published layout.
    """
    require(name in DATASETS, f"--dataset={name}: expected one of {', '.join(DATASETS)}")
    module, reader = DATASETS[name].split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), reader)(directory)
