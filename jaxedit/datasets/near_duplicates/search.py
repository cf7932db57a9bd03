"""The search for the rows of a store that show an evaluation picture, by perceptual hashes.

A perceptual hash has 64 bits that change little when a picture is resized or compressed: pHash
(Zauner 2010), which the package `imagehash` computes. Pictures are reduced here first, by averaging
boxes, which is three times faster than imagehash's own Lanczos filter; and fewer bits differ
between copies of a picture.
"""

import concurrent.futures
import hashlib
import io
import pathlib
import sys
import types
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from jaxedit.config import ConfigError, require
from jaxedit.data.drop_list import Dropped
from jaxedit.data.pictures import photo
from jaxedit.data.record import Record
from jaxedit.data.store import Store, is_store
from jaxedit.progress import progress_bar

_SIDE = 32  # pixels, side of the picture that is hashed
_BLOCK = 256  # rows that a thread takes at a time
_SMALL = (64, 64)  # smallest size to which the JPEG decoder may reduce a picture for hashing


class Pictures:
    """The hashes of evaluation pictures."""

    def __init__(self, places: Sequence[pathlib.Path]) -> None:
        """Hash all pictures; name pictures that cannot be read on stderr.

        Args:
          places: directories of pictures, searched to any depth, or stores.

        Raises:
          ConfigError: a place has no picture, or is a damaged store; imagehash is not installed.
          OSError: a row of a store is damaged.
        """
        import_imagehash()  # fail here: errors below are taken for unreadable pictures
        self.names: list[str] = []
        self._of_file: dict[str, int] = {}  # SHA-256 of a file -> its picture
        bits: list[int] = []
        owners: list[int] = []
        for place in places:
            count = len(self.names)
            for name, digest, found in _stored(place) if is_store(place) else _in_files(place):
                self._of_file.setdefault(digest, len(self.names))
                owners += [len(self.names)] * len(found)
                bits += found
                self.names.append(name)
            require(len(self.names) > count, f"--against={place}: expected pictures, found none")
        self._bits, self._owners = np.array(bits, np.uint64), owners

    def match(self, record: Record, distance: int) -> str:
        """Say which of these pictures a record shows, or return "".

        Args:
          distance: number of bits, of 64, that may differ.
        """
        same = self._of_file.get(record.target_sha256)
        if same is not None:
            return f"same file as {self.names[same]}"
        for bits in hashes_of(record):
            apart = np.bitwise_count(self._bits ^ np.uint64(bits))
            nearest = int(apart.argmin())
            if apart[nearest] <= distance:
                return f"{apart[nearest]} bits from {self.names[self._owners[nearest]]}"
        return ""


def find(store: Store, pictures: Pictures, *, distance: int, threads: int) -> list[Dropped]:
    """Return the rows of a store that show one of the pictures, in order.

    Raises:
      OSError: a row is damaged.
    """

    def search(rows: range) -> list[Dropped]:
        records = ((row, store[row]) for row in rows)
        found = ((row, r.id, pictures.match(r, distance)) for row, r in records)
        return [Dropped(*each) for each in found if each[-1]]

    blocks = [range(len(store))[i : i + _BLOCK] for i in range(0, len(store), _BLOCK)]
    dropped = []
    with (
        progress_bar(store.name, len(store)) as bar,
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
    ):
        for block, rows in zip(blocks, pool.map(search, blocks), strict=True):
            dropped += rows
            bar.update(len(block))
    return dropped


def hashes_of(record: Record) -> set[int]:
    """Return the hashes of the target and, if the source is a photo, of the source."""
    is_photo = record.task in ("edit", "recon")
    return {
        bits
        for file in (record.target, *((record.source,) if is_photo else ()))
        for bits in hashes(_open_small(file))
    }


def _stored(place: pathlib.Path) -> Iterator[tuple[str, str, set[int]]]:
    store = Store(place, keeps_dropped=True)
    for row in range(len(store)):
        record = store[row]
        yield record.id, record.target_sha256, hashes_of(record)


def _in_files(place: pathlib.Path) -> Iterator[tuple[str, str, set[int]]]:
    suffixes = Image.registered_extensions()
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            try:
                data = path.read_bytes()
                found = hashes(photo.decode(data, str(path)))
            except (ValueError, OSError) as error:
                print(f"not compared: {error}", file=sys.stderr)
            else:
                yield str(path), hashlib.sha256(data).hexdigest(), found


def _open_small(file: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    image.draft("L", _SMALL)
    return image


def hashes(image: Image.Image) -> set[int]:
    """Return the hashes of a picture and of its middle square, which evaluations often use."""
    side = min(image.size)
    left, top = ((n - side) // 2 for n in image.size)
    grey = np.asarray(image.convert("L"))  # Pillow cannot crop very large pictures
    square = Image.fromarray(grey[top : top + side, left : left + side])
    return {perceptual_hash(image), perceptual_hash(square)}


def perceptual_hash(image: Image.Image) -> int:
    """Return which of a picture's 64 lowest frequencies are above their median.

    Args:
      image: any mode that Pillow converts to grey.

    Returns:
      64 bits, the mean's first.

    Raises:
      ConfigError: imagehash is not installed.
    """
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    bits = import_imagehash().phash(small).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def import_imagehash() -> types.ModuleType:
    """Return the package imagehash, which is an optional dependency.

    Raises:
      ConfigError: it is not installed; says how to install it.
    """
    try:
        import imagehash
    except ImportError as error:
        raise ConfigError(
            f"near duplicates need imagehash: pip install 'jaxedit[datasets]' ({error})"
        ) from error
    return imagehash
