"""Chunks of PNG files, read without decoding the picture.

Pillow itself reads the text of a picture while it decodes the pixels, and fails on long text.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MOST = 64 << 20  # largest size in bytes of a text or profile after decompression


class Chunk(NamedTuple):
    """A chunk: its four-letter name, its content, and all of its bytes."""

    name: bytes
    content: memoryview
    whole: memoryview

    @property
    def is_sound(self) -> bool:
        """Tell whether the chunk is complete and its checksum right."""
        return zlib.crc32(self.whole[4:-4]).to_bytes(4, "big") == self.whole[-4:]


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file in their order; the last may be cut short."""
    view, start, name = memoryview(data), len(MAGIC), b""
    while name != b"IEND" and start + 8 <= len(view):
        length, name = struct.unpack_from(">I4s", view, start)
        end = start + 8 + length
        yield Chunk(name, view[start + 8 : end], view[start : end + 4])
        start = end + 4


def make_chunk(name: bytes, content: bytes) -> bytes:
    """Return all bytes of a chunk, with its length and checksum."""
    checksum = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", checksum)


def texts(data: bytes, *keys: str) -> Iterator[tuple[str, bytes]]:
    """Yield the keys and values of the text chunks with one of these keys.

    Damaged chunks are left out; compressed values are decompressed.
    """
    if not data.startswith(MAGIC):
        return
    for chunk in chunks(data):
        key = bytes(chunk.content[:80]).partition(b"\0")[0].decode("latin-1")
        if chunk.name in _TEXTS and key in keys and chunk.is_sound:
            value = _value(chunk.name, bytes(chunk.content[len(key) + 1 :]))
            if value is not None:
                yield key, value


def _value(name: bytes, content: bytes) -> bytes | None:
    if name == b"tEXt":
        return content
    if name == b"zTXt":
        return inflated(content[1:])
    value = content[2:].split(b"\0", 2)[-1]  # after language and translated key
    return inflated(value) if content[:1] == b"\1" else value


def inflated(data: bytes) -> bytes | None:
    """Decompress zlib data, or return None if the data are damaged or too long."""
    unpack = zlib.decompressobj()
    try:
        result = unpack.decompress(data, _MOST)
    except zlib.error:
        return None
    return result if unpack.eof else None
