"""Tags of TIFF files and of EXIF data, which have the same form.

A file or block says where its first directory lies; this is a table of tags, 12 bytes each: number,
type, count, and the value or where it lies (20 bytes in BigTIFF). Each tag is read by itself, so
that a damaged one spoils no other.

Source: TIFF 6.0, section 2; BigTIFF is 43 in place of 42 and longer fields.
"""

import struct
from typing import NamedTuple

from jaxedit.data.picture_formats import RAW, STRETCH, UnknownFormat

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PROFILE = 34675
_KIND, _BITS, _ORIENTATION, _CHANNELS, _FORMAT = 254, 258, 274, 277, 339
_PARTS, _RAW = 330, 50706  # SubIFDs, DNGVersion
_MOST_CHANNELS = 6  # that Pillow reads
_PIXELS = {  # the tags that pixels are decoded by
    *(_KIND, 256, 257, _BITS, 259, 262, 266, 273, _CHANNELS, 278, 279, 284, 292, 293, 317, 320),
    *(322, 323, 324, 325, 332, 334, 338, _FORMAT, 347, *range(512, 522), *range(529, 533)),
}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}  # types
_KINDS = {2: " signed", 3: " float", 5: " complex", 6: " complex"}  # of samples
_BYTES = {*_INTEGERS, 2, 7}


class Tags(NamedTuple):
    """The first directory of a file.

    Attributes:
      data: the file.
      order: "<" or ">", as `struct` writes them.
      is_big: whether it is a BigTIFF.
      start: where the directory lies.
      entries: the bytes of each tag by its number.
    """

    data: bytes
    order: str
    is_big: bool
    start: int
    entries: dict[int, bytes]

    def integers(self, number: int) -> tuple[int, ...]:
        """The value of a tag; () if it is missing, damaged or no integers."""
        entry = self.entries.get(number, b"")
        try:
            kind, count = struct.unpack_from(self.order + ("HQ" if self.is_big else "HI"), entry, 2)
            form = f"{self.order}{count}{_INTEGERS[kind]}"
            return struct.unpack_from(form, *self._place(entry, struct.calcsize(form)))
        except (struct.error, KeyError, OverflowError, MemoryError):
            return ()

    def content(self, number: int) -> bytes | None:
        """The value of a tag of bytes; None if it is missing or damaged."""
        entry = self.entries.get(number, b"")
        try:
            kind, count = struct.unpack_from(self.order + ("HQ" if self.is_big else "HI"), entry, 2)
            held, start = self._place(entry, count)
        except struct.error:
            return None
        value = held[start : start + count]
        return bytes(value) if kind in _BYTES and len(value) == count else None

    def _place(self, entry: bytes, size: int) -> tuple[bytes, int]:
        """Where a value of that many bytes lies: (bytes, offset in them)."""
        at, room, form = (12, 8, "Q") if self.is_big else (8, 4, "I")
        if size <= room:
            return entry, at
        return self.data, struct.unpack_from(self.order + form, entry, at)[0]


def read(data: bytes) -> Tags | None:
    """The first directory of a TIFF file or EXIF block, as far as it can be read."""
    if not data.startswith(MAGICS):
        return None
    order, is_big = ("<" if data[:1] == b"I" else ">"), b"+" in data[2:4]
    try:
        start = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]
        count = struct.unpack_from(order + ("Q" if is_big else "H"), data, start)[0]
    except struct.error:
        return None
    first, size = (start + 8, 20) if is_big else (start + 2, 12)
    entries: dict[int, bytes] = {}
    for at in range(first, min(first + count * size, len(data) - size + 1), size):
        entries.setdefault(struct.unpack_from(order + "H", data, at)[0], data[at : at + size])
    return Tags(data, order, is_big, start, entries)


def orientation_of(tags: Tags) -> int | None:
    """How the picture is to be turned, 1 ... 8; None if its tags do not say so."""
    value = tags.integers(_ORIENTATION)
    return value[0] if value and 1 <= value[0] <= 8 else None


def pixels_only(tags: Tags) -> bytes:
    """The file with no tags but those that its first picture is decoded by."""
    kept = [entry for number, entry in tags.entries.items() if number in _PIXELS]
    count, following = ("Q", "Q") if tags.is_big else ("H", "I")
    table = struct.pack(tags.order + count, len(kept)) + b"".join(kept)
    table += struct.pack(tags.order + following, 0)  # no further picture
    return b"".join((tags.data[: tags.start], table, tags.data[tags.start + len(table) :]))


def require_photo(tags: Tags, *, any_samples: bool) -> None:
    """Check that the first picture is a whole one, of samples whose range is known.

    Args:
      tags: of the file.
      any_samples: do without the latter.

    Raises:
      UnknownFormat: it is not; what it is and how to convert it.
    """
    is_preview = tags.integers(_KIND)[:1] == (1,) and _PARTS in tags.entries
    if _RAW in tags.entries or is_preview or tags.data[8:10] == b"CR":
        raise UnknownFormat(RAW)
    channels, bits = (tags.integers(_CHANNELS) or (1,))[0], (tags.integers(_BITS) or (1,))[0]
    if channels > _MOST_CHANNELS:
        raise UnknownFormat(f"TIFF of {channels} channels: expected at most {_MOST_CHANNELS}")
    kind = _KINDS.get((tags.integers(_FORMAT) or (1,))[0], "")
    if not any_samples and (kind or bits not in (1, 2, 4, 8, 16)):
        raise UnknownFormat(f"TIFF of {bits}-bit{kind} samples: {STRETCH}")
