"""The search for the rows of a store that show an evaluation picture, by perceptual hashes."""

import hashlib
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from jaxedit.config import require
from jaxedit.data.drop_list import Dropped
from jaxedit.data.pictures import photo
from jaxedit.data.store import Store, is_store
from jaxedit.datasets.near_duplicates.perceptual_hash import hashes, hashes_of, import_imagehash
from jaxedit.datasets.near_duplicates.store_hashes import Block, blocks_of

_ROWS = 256  # rows that are compared with all pictures at once


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

    def match(self, block: Block, distance: int) -> Iterator[tuple[int, str]]:
        """Yield the number of each row that shows one of the pictures, and the reason.

        Args:
          distance: number of bits, of 64, that may differ.
        """
        for start in range(0, len(block.bits), _ROWS):
            bits = block.bits[start : start + _ROWS, :, None]  # [rows, hashes, 1]
            apart = np.bitwise_count(bits ^ self._bits).reshape(len(bits), -1)
            nearest = apart.argmin(axis=1)  # a hash of the row, and one of the pictures'
            for row, place in enumerate(nearest.tolist(), start):
                same = self._of_file.get(block.targets[row].decode())
                bits_apart = apart[row - start, place]
                if same is not None:
                    yield block.start + row, f"same file as {self.names[same]}"
                elif bits_apart <= distance:
                    name = self.names[self._owners[place % len(self._owners)]]
                    yield block.start + row, f"{bits_apart} bits from {name}"


def find(store: Store, pictures: Pictures, distance: int) -> list[Dropped]:
    """Return the rows of a store, whose hashes are there, that show one of the pictures, in order.

    Raises:
      OSError: a row is damaged.
    """
    found = (match for block in blocks_of(store) for match in pictures.match(block, distance))
    return [Dropped(row, store[row].id, reason) for row, reason in found]


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
