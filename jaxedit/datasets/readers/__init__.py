"""Readers of published data sets in their own layouts on a local disk, by name."""

import importlib
import inspect
import os

from jaxedit.config import require
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
    "multigen-depth": "multigen:MultiGenDepth",
    "multigen-canny": "multigen:MultiGenCanny",
    "cocostuff": "cocostuff:CocoStuff",
    "magicbrush": "magicbrush:MagicBrush",
    "omniedit": "omniedit:OmniEdit",
    "ultraedit": "ultraedit:UltraEdit",
    "anyedit": "anyedit:AnyEdit",
}


def open_published(
    name: str, directory: str | os.PathLike, scratch: str | os.PathLike | None = None
) -> Published:
    """Open a data set of `DATASETS`.

    Args:
      name: name of the data set.
      directory: the downloaded data set.
      scratch: where archives are unpacked or indexed; default: in the directory.

    Raises: ConfigError: the name is unknown, the directory does not have the published layout, or
      `scratch`
        is given for a data set without archives.
    """
    require(name in DATASETS, f"--dataset={name}: expected one of {', '.join(DATASETS)}")
    module, opener = DATASETS[name].split(":")
    reader = getattr(importlib.import_module(f"{__name__}.{module}"), opener)
    if scratch is None:
        return reader(directory)
    unpacks = "scratch" in inspect.signature(reader).parameters
    require(unpacks, f"--scratch={scratch}: {name} has no archives to unpack")
    return reader(directory, scratch=scratch)
