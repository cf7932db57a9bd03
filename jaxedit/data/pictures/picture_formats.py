"""Formats that Pillow does not read, recognised by their first bytes, and how to convert them."""

import re

HEAD = 4096  # bytes that suffice to recognise a file


class UnknownFormat(ValueError):
    """A file has a format that is not read; the message names it and says how to convert it."""


MAGICK = "convert it first, as by: magick FILE OUT.png"
STRETCH = "convert it to 8 bits first, as by: magick FILE -auto-level -depth 8 OUT.png"
RAW = "a camera's raw file: develop it first, as by: darktable-cli FILE OUT.png"
_AGAIN = "download it again"
_HEIC = "HEIC, as iPhones make: convert it first, as by: heif-convert FILE OUT.png"
_AVIF = f"AVIF, for which this Pillow has no decoder: {MAGICK}, or update Pillow"
_VIDEO = "a video: take a picture out of it: ffmpeg -i FILE -frames:v 1 OUT.png"
_DRAWING = "drawing: draw it as pixels: inkscape FILE -o OUT.png"
_PAGE = f"did a download fail? {_AGAIN}"

# pattern of the first bytes -> the format, and how to convert it
_BEGINNINGS = (
    (rb"\xff\n|\0\0\0\x0cJXL", "JPEG XL: convert it first: djxl FILE OUT.png"),
    (rb"II\xbc", "JPEG XR: convert it first: JxrDecApp -i FILE -o OUT.bmp"),
    (rb"BPG\xfb", "BPG: convert it first: bpgdec -o OUT.png FILE"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|FOVb|\0MRM|.{6}HEAPCCDR", RAW),
    (rb"v/1\x01", f"OpenEXR, whose samples are floats: {STRETCH}"),
    (rb"#\?RADIANCE|#\?RGBE", f"Radiance HDR, whose samples are floats: {STRETCH}"),
    (rb".{128}DICM", "DICOM: convert it first: dcmj2pnm +on FILE OUT.png"),
    (rb"\x1aE\xdf\xa3|FLV\x01|\0\0\x01[\xba\xb3]|.{4}(moov|mdat|wide)|.{8}AVI LIST", _VIDEO),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0l\0\0\0", f"a vector {_DRAWING}"),  # Windows metafiles
    (rb"%PDF", "a PDF document: draw a page as pixels: pdftoppm -png -r 150 FILE OUT"),
    (
        rb"%!PS|\xc5\xd0\xd3\xc6",
        "PostScript: draw it as pixels: gs -sDEVICE=png16m -r150 -o OUT.png FILE",
    ),
    (rb"AT&TFORM", "a DjVu document: convert it first: ddjvu -format=tiff FILE OUT"),
    (
        rb"gimp xcf|SQLite format 3|Paint Shop Pro",
        "a painting program's own file: export it there as PNG",
    ),
    (
        rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
        "an archive: unpack it",
    ),
    (
        rb"\x89PNG\n|\xc2\x89PNG|\xef\xbf\xbd(PNG|\xef\xbf\xbd)|\xc3\xbf\xc3\x98",
        f"a file whose bytes were changed as if they were text: {_AGAIN}",
    ),
    (rb"\0\x05\x16[\0\x07]", "macOS's metadata of a file: use the file without ._ before its name"),
    (rb"\x93NUMPY", "a NumPy array: save it as PNG, or give it to Editor.edit"),
    (rb"\x89HDF", "HDF5: save the picture in it as PNG"),
)
_BRANDS = {  # brands of files in the container format of MP4
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIC
    ),
    b"crx ": RAW,
}


def described(head: bytes) -> str | None:
    """Return a file's format and how to convert it, or None if the format is not known.

    Args:
      head: the first `HEAD` bytes of the file.
    """
    if not head:
        return "the file is empty"
    if not head.strip(b"\0"):
        return f"nothing but zero bytes: {_AGAIN}"
    return (_text(head) or "text, no picture") if _is_text(head) else _binary(head)


def _binary(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), 64)
        brands = [head[at : at + 4] for at in (8, *range(16, size, 4))]
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return _AVIF if _AVIF in known else known[0] if known else _VIDEO
    return next((x for start, x in _BEGINNINGS if re.match(start, head, re.DOTALL)), None)


def _text(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.search(rb"<svg[\s>:]", start) and start.startswith(b"<"):
        return f"an SVG {_DRAWING}"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<body")):
        return f"a web page: {_PAGE}"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: run: git lfs pull"
    if start.startswith((b"<?xml", b"{", b"[")):
        return f"a server's answer or data, no picture: {_PAGE}"
    return _binary(head)


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start <= len(head) - 4:  # else it may be a character cut by the end
            return False
    return re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head) is None
