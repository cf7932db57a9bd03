"""What a file is that is no picture to Pillow, by how it begins, and how to make one of it."""

import re
from typing import NamedTuple

HEAD = 4096  # bytes that suffice to know a file


class UnknownFormat(ValueError):
    """A file is of no format that is read; the message says what it is and how to convert it."""


class _Format(NamedTuple):
    what: str
    advice: str


MAGICK = "convert it first, as by: magick FILE OUT.png"
STRETCH = "convert it to 8 bits first, as by: magick FILE -auto-level -depth 8 OUT.png"
_AGAIN = "fetch it anew"
_HEIC = _Format("HEIC, as iPhones make", "convert it first, as by: heif-convert FILE OUT.png")
_AVIF = _Format("AVIF, for which this Pillow has no decoder", f"{MAGICK}, or update Pillow")
_RAW = _Format("a camera's raw file", "develop it first, as by: darktable-cli FILE OUT.png")
_VIDEO = _Format("a video", "take a picture out of it: ffmpeg -i FILE -frames:v 1 OUT.png")
_VECTOR = _Format("a vector drawing", "draw it as pixels first: inkscape FILE -o OUT.png")
_PAGE = _Format("a web page", f"did a download fail? {_AGAIN}")
RAW = f"{_RAW.what}: {_RAW.advice}"

_MAGICS: tuple[tuple[_Format, int, tuple[bytes, ...]], ...] = (  # offset, bytes that may be there
    (_Format("JPEG XL", "convert it first: djxl FILE OUT.png"), 0, (b"\xff\x0a", b"\0\0\0\x0cJXL")),
    (_Format("JPEG XR", "convert it first: JxrDecApp -i FILE -o OUT.bmp"), 0, (b"II\xbc",)),
    (_Format("BPG", "convert it first: bpgdec -o OUT.png FILE"), 0, (b"BPG\xfb",)),
    (_RAW, 0, (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")),
    (_RAW, 6, (b"HEAPCCDR",)),
    (_Format("OpenEXR, whose samples are floats", STRETCH), 0, (b"\x76\x2f\x31\x01",)),
    (_Format("Radiance HDR, whose samples are floats", STRETCH), 0, (b"#?RADIANCE", b"#?RGBE")),
    (_Format("DICOM", "convert it first: dcmj2pnm +on FILE OUT.png"), 128, (b"DICM",)),
    (_VIDEO, 0, (b"\x1a\x45\xdf\xa3", b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3")),
    (_VIDEO, 4, (b"moov", b"mdat", b"wide")),
    (_VIDEO, 8, (b"AVI LIST",)),
    (_VECTOR, 0, (b"\xd7\xcd\xc6\x9a", b"\1\0\0\0\x6c\0\0\0")),
    (
        _Format("a PDF document", "draw a page as pixels: pdftoppm -png -r 150 FILE OUT"),
        0,
        (b"%PDF",),
    ),
    (
        _Format("PostScript", "draw it as pixels: gs -sDEVICE=png16m -r150 -o OUT.png FILE"),
        0,
        (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    ),
    (_Format("a DjVu document", "convert it first: ddjvu -format=tiff FILE OUT"), 0, (b"AT&TF",)),
    (
        _Format("a painting program's own file", "export it there as PNG"),
        0,
        (b"gimp xcf", b"SQLite format 3", b"Paint Shop Pro"),
    ),
    (
        _Format("an archive", "unpack it"),
        0,
        (
            b"PK\3\4",
            b"\x1f\x8b",
            b"7z\xbc\xaf",
            b"Rar!",
            b"BZh",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
        ),
    ),
    (_Format("an archive", "unpack it"), 257, (b"ustar",)),
    (
        _Format("a file whose bytes were changed as if they were text", _AGAIN),
        0,
        (
            b"\x89PNG\n",
            b"\xc2\x89PNG",
            b"\xef\xbf\xbdPNG",
            b"\xef\xbf\xbd" * 2,
            b"\xc3\xbf\xc3\x98",
        ),
    ),
    (
        _Format("what macOS keeps beside a file", "take the file without ._ before its name"),
        0,
        (b"\0\5\x16\7", b"\0\5\x16\0"),
    ),
    (_Format("a NumPy array", "save it as PNG, or give it to Editor.edit"), 0, (b"\x93NUMPY",)),
    (_Format("HDF5", "save the picture in it as PNG"), 0, (b"\x89HDF",)),
)
_BRANDS = {  # of files that begin as MP4 does
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), _HEIC),
    **dict.fromkeys((b"mif1", b"msf1"), _HEIC),
    b"crx ": _RAW,
}


def described(head: bytes) -> str | None:
    """What a file is that Pillow does not read, and how to convert it; None if that is not known.

    Args:
      head: its first `HEAD` bytes.
    """
    if not head:
        return "the file is empty"
    if not head.strip(b"\0"):
        return f"nothing but zero bytes: {_AGAIN}"
    found = _text(head) if (is_text := _is_text(head)) else _binary(head)
    return f"{found.what}: {found.advice}" if found else "text, no picture" if is_text else None


def _binary(head: bytes) -> _Format | None:
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), 64)
        brands = [head[at : at + 4] for at in (8, *range(16, size, 4))]
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return _AVIF if _AVIF in known else known[0] if known else _VIDEO
    return next((kind for kind, at, magics in _MAGICS if head[at:].startswith(magics)), None)


def _text(head: bytes) -> _Format | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.search(rb"<svg[\s>:]", start) and start.startswith(b"<"):
        return _VECTOR._replace(what="an SVG drawing")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<body")):
        return _PAGE
    if start.startswith(b"version https://git-lfs"):
        return _Format("a Git LFS pointer, not the file itself", "run: git lfs pull")
    if start.startswith((b"<?xml", b"{", b"[")):
        return _PAGE._replace(what="a server's answer or data, no picture")
    return _binary(head)


def _is_text(head: bytes) -> bool:
    return re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head) is None and _decodes(head)


def _decodes(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character cut by the end
    return True
