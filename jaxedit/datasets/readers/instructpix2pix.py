"""InstructPix2Pix: edits made by Stable Diffusion with prompt-to-prompt.

Source: Brooks et al. 2023; instruct-pix2pix.eecs.berkeley.edu (folders) and
timbrooks/instructpix2pix-clip-filtered on the Hub (parquet).
"""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxedit.config import ConfigError, require
from jaxedit.datasets.readers.example import Drop, Example, Published
from jaxedit.datasets.readers.parquet_files import ParquetSet
from jaxedit.datasets.readers.picture_archive import Pictures, pair

_PROMPTS = 200  # prompts per part; each has up to four pairs
_TRAIN = 0.9  # share of the prompts for training, from the start of the list


def open_instructpix2pix(directory: str | os.PathLike) -> Published:
    """Open the data set, as folders or as parquet files.

    Raises:
      ConfigError: the directory contains neither.
    """
    directory = pathlib.Path(directory)
    if (directory / "seeds.json").is_file():
        return Folders(directory)
    parquet = [*directory.glob("*.parquet"), *directory.glob("data/*.parquet")]
    require(
        bool(parquet),
        f"{directory}: expected seeds.json and folders of pictures, or data/*.parquet of "
        "timbrooks/instructpix2pix-clip-filtered",
    )
    return HubFiles(directory)


class HubFiles(ParquetSet):
    """The clip-filtered set as published on the Hub, which has no split."""

    name = "instructpix2pix"
    needs = {"source": "original_image", "target": "edited_image", "instruction": "edit_prompt"}
    extras = {"source_caption": "original_prompt", "target_caption": "edited_prompt"}


class Prompts(NamedTuple):
    """Consecutive entries of seeds.json."""

    first: int  # index of the first entry
    entries: list[Any]  # each [folder, [seed, ...]]
    is_held_out: bool  # whether the entries are in the published validation or test split


class Folders:
    """`seeds.json`, and in each folder `prompt.json`, `<seed>_0.jpg` and `<seed>_1.jpg`.

    All seeds of a prompt are pairs; the published loader draws a random seed each time. The last
    tenth of the prompts, the published validation and test splits, is left out.
    """

    name = "instructpix2pix"
    keeps_labels = False

    def __init__(self, directory: str | os.PathLike) -> None:
        """Check the layout.

        Raises:
          ConfigError: seeds.json is missing.
        """
        directory = pathlib.Path(directory)
        self._list = directory / "seeds.json"
        require(self._list.is_file(), f"{self._list}: no such file: expected a list of folders")
        self._files = Pictures([directory], [])

    def parts(self) -> list[Prompts]:
        """Return parts of a few hundred prompts.

        Raises:
          ConfigError: seeds.json is damaged.
        """
        try:
            entries = json.loads(self._list.read_bytes())
        except ValueError as error:
            raise ConfigError(f"{self._list}: expected JSON: {error}") from error
        require(isinstance(entries, list), f"{self._list}: expected a list of [folder, seeds]")
        train = int(_TRAIN * len(entries))
        return [
            Prompts(start, entries[start : min(start + _PROMPTS, stop)], is_held_out)
            for is_held_out, begin, stop in ((False, 0, train), (True, train, len(entries)))
            for start in range(begin, stop, _PROMPTS)
        ]

    def read(self, part: Prompts) -> Iterator[Example | Drop]:
        """Yield the pairs of a part."""
        for number, entry in enumerate(part.entries, part.first):
            match entry:
                case [str(folder), list(seeds)]:
                    keys = {f"{folder}/{seed}": seed for seed in seeds}
                case _:
                    yield Drop(f"seeds.json/{number}", "damaged entry of seeds.json")
                    continue
            if part.is_held_out:
                yield from (Drop(key, "held out by the published split") for key in keys)
                continue
            texts = self._texts(folder)
            for key in keys:
                yield (
                    Drop(key, "prompt.json not found or damaged")
                    if texts is None
                    else pair(
                        key,
                        self._files,
                        f"{key}_0.jpg",
                        f"{key}_1.jpg",
                        texts.get("edit"),
                        group=folder,
                        captions=(texts.get("input"), texts.get("output")),
                    )
                )

    def _texts(self, folder: str) -> dict[str, Any] | None:
        try:
            texts = json.loads(self._files.read(f"{folder}/prompt.json") or b"")
        except ValueError:
            return None
        return texts if isinstance(texts, dict) else None
