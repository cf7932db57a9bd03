import pytest

from jaxedit.data.pictures import picture_formats


def box(*brands):
    size = 8 + 4 * (len(brands) + 1)
    return size.to_bytes(4, "big") + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])


HEADS = {
    "HEIC": [box(b"heic", b"mif1"), box(b"mif1", b"heic"), box(b"heix")],
    "AVIF": [box(b"avif", b"mif1"), box(b"mif1", b"miaf", b"avif"), box(b"avis")],
    "a video": [box(b"isom", b"mp41"), box(b"qt  "), b"\x1a\x45\xdf\xa3", b"RIFFsizeAVI LIST"],
    "raw file": [box(b"crx "), b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0"],
    "JPEG XL": [b"\xff\x0a\x7a", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "an SVG drawing": [
        b"<svg xmlns='x'/>",
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE svg>\n<svg width='2'>",
        b"<!-- made by hand -->" + b" " * 900 + b"<SVG>",
    ],
    "a web page": [b"<!DOCTYPE html>", b"\n <html lang='en'>", b"<HEAD><title>404"],
    "server's answer": [b'{"error": 404}', b"<?xml version='1.0'?><Error/>"],
    "Git LFS": [b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n"],
    "a PDF": [b"%PDF-1.7\n%\xe2\xe3", b"%PDF-1.4\n"],
    "PostScript": [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6\x1e\0"],
    "an archive": [b"PK\3\4\x14\0", b"\x1f\x8b\x08\0", b"x" * 257 + b"ustar"],
    "macOS": [b"\0\5\x16\7\0\2\0\0"],
    "as if they were text": [b"\xef\xbf\xbdPNG\r\n\x1a\n\0", b"\x89PNG\n\x1a\n\0\0"],
    "DICOM": [bytes(128) + b"DICM"],
    "float": [b"\x76\x2f\x31\x01\2\0\0\0", b"#?RADIANCE\n"],
    "empty": [b""],
    "zero bytes": [bytes(4096), b"\0"],
    "text, no picture": [b"hello", "größer".encode(), ("é" * 4096).encode()[:4095]],
}


@pytest.mark.parametrize("what", HEADS)
def test_files_are_called_what_they_are(what):
    for head in HEADS[what]:
        assert what in picture_formats.described(head)
        assert "\n" not in picture_formats.described(head)


def test_others_are_not_known():
    for head in (b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff\xe0", b"\x01\x02\x03\xfe\xff"):
        assert picture_formats.described(head) is None
