"""Picture files taken apart into pixels for Pillow to decode, orientation, and colour profile.

Programs store text, tags and previews of all sorts beside the pixels, and many errors in these make
Pillow refuse the file. So Pillow gets only the parts that the pixels need. The orientation and the
colour profile are read here, and ignored if they are damaged.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxedit.data.pictures import png_chunks, tiff_tags
from jaxedit.data.pictures.picture_formats import MAGICK, UnknownFormat

JPEG_MAGIC = b"\xff\xd8\xff"
_IN_XMP = re.compile(rb'tiff:Orientation(?:\s*=\s*["\']|>)([1-8])')
_RAW_PROFILES = ("Raw profile type exif", "Raw profile type APP1")  # ImageMagick's, in PNG
_XMP = "XML:com.adobe.xmp"
_START_OF_SCAN, _APP0, _APP1, _APP2, _APP14, _COMMENT = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_ALONE = (0x00, 0x01, *range(0xD0, 0xD9))  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class Parts(NamedTuple):
    """The parts of a picture file that are needed to show it."""

    pixels: bytes  # a file of the same format without other parts
    orientation: int  # EXIF's 1 ... 8
    profile: bytes | None  # ICC profile of its colours, or None


def of_png(data: bytes) -> Parts:
    """Take a PNG file apart; of an animation, the default picture is used.

    Raises:
      UnknownFormat: Apple's variant of PNG.
    """
    kept: list[bytes | memoryview] = [png_chunks.MAGIC]
    exif = b""
    profile, header = None, b""
    for chunk in png_chunks.chunks(data):
        if chunk.name == b"CgBI":
            raise UnknownFormat("an iPhone's own variant of PNG: open it on a Mac and export it")
        if chunk.name[:1].isupper():  # critical chunks, which every reader needs
            header = header or bytes(chunk.content)
            kept.append(chunk.whole)
        elif not chunk.is_sound:
            continue
        elif chunk.name == b"tRNS":
            kept.append(_transparent(bytes(chunk.content), header))
        elif chunk.name == b"eXIf":
            exif = bytes(chunk.content)
        elif chunk.name == b"iCCP":
            profile = png_chunks.inflated(bytes(chunk.content).partition(b"\0")[2][1:])
    texts = dict(png_chunks.texts(data, _XMP, *_RAW_PROFILES))
    for name in _RAW_PROFILES:
        exif = exif or _unpacked(texts.get(name, b""))
    return Parts(b"".join(kept), _orientation(exif, texts.get(_XMP, b"")), profile)


def of_jpeg(data: bytes) -> Parts:
    """Take a JPEG file apart; of several pictures, the first is used.

    Raises:
      UnknownFormat: the samples do not have 8 bits.
    """
    kept: list[bytes | memoryview] = [data[:2]]
    exif = xmp = b""
    profile: dict[int, bytes] = {}
    count = 0
    for marker, content, whole in _segments(data):
        if marker in _FRAMES and content[:1] not in (b"", b"\x08"):
            bits = f"{content[0]} bits a sample"
            raise UnknownFormat(f"JPEG of {bits}: {MAGICK}")
        if marker == _APP1 and content.startswith(b"Exif\0\0"):
            exif += content[6:]
        elif marker == _APP1 and content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp += content
        elif marker == _APP2 and content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
            profile[content[12]], count = content[14:], content[13]
        is_jfif = marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= 14
        is_adobe = marker == _APP14 and content.startswith(b"Adobe") and len(content) >= 12
        is_other = not _APP0 <= marker <= 0xEF and marker != _COMMENT
        if is_jfif or is_adobe or is_other:  # JFIF and Adobe segments define the colour space
            kept.append(whole)
    is_whole = sorted(profile) == [*range(1, count + 1)]
    whole_profile = b"".join(profile[i] for i in sorted(profile)) if profile and is_whole else None
    return Parts(b"".join(kept), _orientation(exif, xmp), whole_profile)


def of_tiff(tags: tiff_tags.Tags) -> Parts:
    """Take a TIFF file apart; of several pictures, the first is used."""
    orientation = tiff_tags.orientation_of(tags) or 1
    _, profile = tags.content(tiff_tags.PROFILE)
    return Parts(tiff_tags.pixels_only(tags), orientation, profile or None)


def without_exif(avif: bytes) -> bytes:
    """Hide the EXIF data of an AVIF file from its decoder; another box holds the orientation."""
    return re.sub(rb"(infe.{8})Exif", rb"\1none", avif, flags=re.DOTALL)


def orientation_in(info: Mapping[str | tuple[int, int], Any]) -> int:
    """Return the orientation, 1 ... 8, from the `info` of a Pillow image."""
    exif = info.get("exif", b"")
    for name in _RAW_PROFILES:
        exif = exif or _unpacked(str(info.get(name, "")).encode("latin-1", "replace"))
    xmp = info.get("xmp") or info.get(_XMP) or b""
    xmp = xmp.encode(errors="replace") if isinstance(xmp, str) else xmp
    return _orientation(*(x if isinstance(x, bytes) else b"" for x in (exif, xmp)))


def _orientation(exif: bytes, xmp: bytes) -> int:
    tags = tiff_tags.read(re.sub(rb"^(Exif\0\0){1,2}", b"", exif))
    found = tiff_tags.orientation_of(tags) if tags else None
    if found is None and (named := _IN_XMP.search(xmp)):
        return int(named[1])
    return found or 1


def _segments(data: bytes) -> Iterator[tuple[int, bytes, memoryview]]:
    """Yield (marker, content, all bytes) of the segments of a JPEG file; the last is the scan."""
    view, at = memoryview(data), 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF or marker in _ALONE:
            at += 2 if marker in _ALONE else 1
            continue
        if marker == _START_OF_SCAN:
            break
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        yield marker, data[at + 4 : end], view[at:end]
        at = end
    yield _START_OF_SCAN, b"", view[at:]


def _transparent(content: bytes, header: bytes) -> bytes:
    """Return a PNG's transparency chunk with its colour scaled as Pillow scales the pixels."""
    depth, kind = header[8:10] if len(header) >= 10 else (8, 0)
    if kind == 3:
        return png_chunks.make_chunk(b"tRNS", content)
    values = struct.unpack(f">{len(content) // 2}H", content[: len(content) // 2 * 2])
    if len(values) < {0: 1, 2: 3}.get(kind, 0):
        return b""
    if kind == 0 and depth in (2, 4):
        values = [value * 255 // (2**depth - 1) for value in values]
    if kind == 2 and depth == 16:
        values = [value >> 8 for value in values]
    return png_chunks.make_chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def _unpacked(profile: bytes) -> bytes:
    """Return the bytes of a raw profile: name, length, and lines of hexadecimal digits."""
    try:
        return bytes.fromhex("".join(profile.decode("latin-1").split("\n")[3:]))
    except ValueError:
        return b""
