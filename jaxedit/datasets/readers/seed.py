"""SEED-Data-Edit: lines of JSON that refer to pictures in split archives.

Source: https://huggingface.co/datasets/AILab-CVC/SEED-Data-Edit-Part1-Unsplash, -Part1-Openimages
and -Part2-3 (arXiv 2405.04007).
"""

import itertools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxedit.config import require
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.picture_archive import pair, pictures_of

_ROWS = 500  # lines per part
# Conversations whose pictures are damaged in the published archive.
_CORRUPT = tuple(f"20240330_315P_1323turns/Data/{number}/" for number in range(208, 213))


class Lines(NamedTuple):
    """Consecutive lines of an annotation file."""

    file: str  # name of the file
    first: int  # number of the first line, from 1
    offset: int  # position of the first line in bytes
    count: int  # number of lines
    pictures: str  # version of the archives; a part with another version is a different part


class _Seed:
    """A part of SEED-Data-Edit: `<part>/annotations/*.jsonl` and `<part>/images/`.

    The folder `annotations_GPT4V` has other instructions for some of the same pairs and is not
    read.
    """

    name: str
    keeps_labels = False
    _part: str  # folder
    _repository: str

    def __init__(
        self, directory: str | os.PathLike, scratch: str | os.PathLike | None = None
    ) -> None:
        """Check the layout.

        Args:
          scratch: directory for decompressed archives, tens to hundreds of gigabytes; default:
            `unpacked` in the directory.

        Raises:
          ConfigError: a folder, the annotations, or a piece of an archive is missing.
        """
        directory = pathlib.Path(directory)
        root = directory / self._part
        layout = f"expected the files of AILab-CVC/{self._repository}"
        images = root / "images"
        self._annotations = root / "annotations"
        for folder in (self._annotations, images):
            require(folder.is_dir(), f"{folder}: no such folder: {layout}")
        self._files = sorted(path.name for path in self._annotations.glob("*.jsonl"))
        require(bool(self._files), f"{self._annotations}: no *.jsonl: {layout}")
        require(any(images.iterdir()), f"{images}: no pictures and no archives: {layout}")
        self._pictures = pictures_of(images, pathlib.Path(scratch or directory / "unpacked"))

    def parts(self) -> list[Lines]:
        """Return parts of a few hundred lines. The first call prepares the archives."""
        self._pictures.prepare()
        version = self._pictures.version()
        return [part for file in self._files for part in _cut(self._annotations / file, version)]

    def read(self, part: Lines) -> Iterator[Example | Drop]:
        """Yield the pairs of a part."""
        stem = part.file.removesuffix(".jsonl")
        with open(self._annotations / part.file, "rb") as file:
            file.seek(part.offset)
            for number, line in enumerate(itertools.islice(file, part.count), part.first):
                key = f"{stem}/{number}"
                if not line.strip():
                    continue
                row = _parse(line)
                yield from [Drop(key, "damaged line")] if row is None else self._pairs(key, row)

    def _pairs(self, key: str, row: dict[str, Any]) -> Iterator[Example | Drop]:
        source = row.get("source_image")
        yield pair(
            key,
            self._pictures,
            source,
            row.get("target_image"),
            row.get("instruction"),
            group=str(source),  # many edits of Open Images share a photo
            captions=(row.get("source_caption"), row.get("target_caption")),
        )


class SeedUnsplash(_Seed):
    """Part 1: automatic edits of Unsplash photos, with captions."""

    name = "seed-unsplash"
    _part = "auto_editing/unsplash"
    _repository = "SEED-Data-Edit-Part1-Unsplash"


class SeedOpenImages(_Seed):
    """Part 1: automatic edits of Open Images, with sources and targets in separate archives."""

    name = "seed-openimages"
    _part = "auto_editing/openimages"
    _repository = "SEED-Data-Edit-Part1-Openimages"


class SeedReal(_Seed):
    """Part 2: edits that users requested and experts made."""

    name = "seed-real"
    _part = "real_editing"
    _repository = "SEED-Data-Edit-Part2-3"


class SeedMultiturn(_Seed):
    """Part 3: conversations of up to five edits, each split into pairs of consecutive pictures."""

    name = "seed-multiturn"
    _part = "multi_turn_editing"
    _repository = "SEED-Data-Edit-Part2-3"

    def _pairs(self, key: str, row: dict[str, Any]) -> Iterator[Example | Drop]:
        source = row.get("source_image")
        is_corrupt = isinstance(source, str) and source.startswith(_CORRUPT)
        for turn in itertools.count(1):
            target, instruction = row.get(f"edit_image_{turn}"), row.get(f"instruction_{turn}")
            if not target and not instruction:
                if turn == 1:
                    yield Drop(key, "no turns")
                return
            name = f"{key}/{turn}"
            if is_corrupt:
                yield Drop(name, "known to be corrupt")
            else:
                yield pair(name, self._pictures, source, target, instruction, group=key, turn=turn)
            source = target


def _cut(path: pathlib.Path, version: str) -> Iterator[Lines]:
    first, offset = 1, 0
    with open(path, "rb") as file:
        while lines := list(itertools.islice(file, _ROWS)):
            yield Lines(path.name, first, offset, len(lines), version)
            first, offset = first + len(lines), offset + sum(map(len, lines))


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
