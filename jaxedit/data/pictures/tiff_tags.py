"""Tags of TIFF files and of EXIF data, which have the same format.

The header points to the first directory: a table of tags of 12 bytes each (20 in BigTIFF), with
number, type, count, and the value or its position. Each tag is read independently, so that a
damaged tag does not affect the others.

Source: TIFF 6.0, section 2; BigTIFF has 43 in place of 42, and longer fields.
"""

import struct
from typing import NamedTuple

from jaxedit.data.pictures.picture_formats import RAW, STRETCH, UnknownFormat

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PROFILE = 34675
_KIND, _BITS, _ORIENTATION, _CHANNELS, _FORMAT = 254, 258, 274, 277, 339
_PARTS, _RAW = 330, 50706  # SubIFDs, DNGVersion
_MOST_CHANNELS = 6  # largest number that Pillow reads
_PIXELS = {  # the tags that pixels are decoded by
    *(_KIND, 256, 257, _BITS, 259, 262, 266, 273, _CHANNELS, 278, 279, 284, 292, 293, 317, 320),
    *(322, 323, 324, 325, 332, 334, 338, _FORMAT, 347, *range(512, 522), *range(529, 533)),
}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}  # types
_KINDS = {2: " signed", 3: " float", 5: " complex", 6: " complex"}  # of samples
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 16: 8}  # bytes, of types


class Tags(NamedTuple):
    """The first directory of a file."""

    data: bytes  # content of the file
    order: str  # byte order, "<" or ">" as in `struct`
    is_big: bool  # whether the file is a BigTIFF
    start: int  # position of the directory
    entries: dict[int, bytes]  # the bytes of each tag, by the tag's number

    def content(self, number: int) -> tuple[int, bytes]:
        """Return a tag's type and its value's bytes, or (0, b"") if it is missing or damaged."""
        entry = self.entries.get(number)
        if entry is None:
            return 0, b""
        at, form = (12, "HQ") if self.is_big else (8, "HI")
        kind, count = struct.unpack_from(self.order + form, entry, 2)
        size, held = count * _SIZES.get(kind, 0), entry[at:]
        if size > len(held):  # it lies elsewhere
            start = struct.unpack(self.order + form[1], held)[0]
            held = self.data[start : start + size]
        return (kind, held[:size]) if len(held) >= size else (0, b"")

    def integers(self, number: int) -> tuple[int, ...]:
        """Return the value of a tag, or () if it is missing, damaged or no integers."""
        kind, content = self.content(number)
        if kind not in _INTEGERS:
            return ()
        return struct.unpack(
            f"{self.order}{len(content) // _SIZES[kind]}{_INTEGERS[kind]}", content
        )


def read(data: bytes) -> Tags | None:
    """Read the first directory of a TIFF file or EXIF block; incomplete tags are left out."""
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
    """Return the orientation, 1 ... 8, or None if the tags do not hold it."""
    value = tags.integers(_ORIENTATION)
    return value[0] if value and 1 <= value[0] <= 8 else None


def pixels_only(tags: Tags) -> bytes:
    """Return the file with only the tags that are needed to decode its first picture."""
    kept = [entry for number, entry in tags.entries.items() if number in _PIXELS]
    count, following = ("Q", "Q") if tags.is_big else ("H", "I")
    table = struct.pack(tags.order + count, len(kept)) + b"".join(kept)
    table += struct.pack(tags.order + following, 0)  # no further picture
    return b"".join((tags.data[: tags.start], table, tags.data[tags.start + len(table) :]))


def require_photo(tags: Tags, *, any_samples: bool) -> None:
    """Check that the first picture is not a preview, and that the range of its samples is known.

    Args:
      any_samples: skip the second check.

    Raises:
      UnknownFormat: a check fails; the message says what the file is and how to convert it.
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
