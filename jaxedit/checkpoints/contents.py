"""The kind of a file that is no checkpoint, by its first bytes, and the advice to its user.

Downloads often leave something else under a checkpoint's name: a pointer, a web page, a part.
"""

import itertools
import re
import tarfile

from etils import epath

from jaxedit.assets import AnyPath

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors")  # of checkpoints
ZIP = b"PK\3\4"
PARTIAL = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".tmp")
START = 1024  # bytes of a file that are looked at
SHOWN = 80  # characters of a text in a message
MAGIC = {  # first bytes -> kind of file, and advice
    b"\x1f\x8b": "compressed by gzip: gunzip it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unzstd it first",
    b"\xfd7zXZ\0": "compressed by xz: unxz it first",
    b"BZh": "compressed by bzip2: bunzip2 it first",
    b"\x04\x22\x4d\x18": "compressed by lz4: unlz4 it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"PK\5\6": "a zip archive without any file",
    ZIP: "a zip archive, as torch.save writes it: convert it first (python -m jaxedit.convert)",
    b"GGUF": "a GGUF file, of llama.cpp: expected PyTorch's or safetensors",
    b"\x89HDF": "an HDF5 file, of Keras: expected PyTorch's or safetensors",
    b"\x93NUMPY": "an array of numpy: expected PyTorch's or safetensors",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
}


def describe(path: epath.PathLike) -> str:
    """Return the kind of a file that is no checkpoint; "" if its first bytes do not tell."""
    with epath.Path(path).open("rb") as file:
        start = file.read(START)
    if not start:
        return "an empty file of 0 bytes: fetch it again"
    if not start.strip(b"\0"):
        return "it begins with zeros, as an incomplete download does: fetch it again"
    known = next((text for magic, text in MAGIC.items() if start.startswith(magic)), "")
    if not known and start[257:262] == b"ustar":
        known = _tar(path)
    return known or _text(start)


def partial_suffix(name: str) -> str:
    """Return the suffix of `name` that marks an incomplete download, or ""."""
    return next((suffix for suffix in PARTIAL if name.lower().endswith(suffix)), "")


def partial_beside(path: AnyPath) -> str:
    """Return the name of an incomplete download of the missing file `path`, or ""."""
    names = (path.name + suffix for suffix in PARTIAL)
    return next((name for name in names if (path.parent / name).exists()), "")


def _tar(path: epath.PathLike) -> str:
    """Describe a tar archive by the names of its first members."""
    try:
        with epath.Path(path).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            names = [member.name for member in itertools.islice(archive, 5)]
    except (tarfile.TarError, EOFError, ValueError):
        return "a damaged tar archive: fetch it again"
    if {"pickle", "storages", "tensors"} & set(names):
        return (
            "in the tar format of PyTorch 0.1; save it again where PyTorch is installed: "
            "torch.save(torch.load(OLD), NEW)"
        )
    shown = ", ".join(ascii(name[:60])[1:-1] for name in names)
    return f"a tar archive of {shown or 'nothing'}: unpack it first (tar -xf) and name the file"


def _text(start: bytes) -> str:
    """Describe a text; "" if the bytes are no text."""
    is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = start.removeprefix(b"\xef\xbb\xbf").decode("utf-16" if is_wide else "utf-8")
    except UnicodeDecodeError as error:
        is_end = error.start > len(start) - 4  # the last letter, of up to 4 bytes, is cut
        text = start[: error.start].decode() if is_end and not is_wide else start.decode("latin-1")
    if any(not letter.isprintable() and letter not in "\r\n\t\f" for letter in text):
        return ""
    text = " ".join(text.split())
    shown = ascii(text[:SHOWN])[1:-1] + "..." * (len(text) > SHOWN)
    if text.startswith("version https://git-lfs"):
        size = re.search(r" size (\d{1,15})\b", text)
        said = f" of a file of {int(size[1]):,} bytes" if size else ""
        return f"a Git LFS pointer{said}, not the weights: run git lfs pull, or download the file"
    if re.match(r"(<!--.*?-->|\s)*<(!doctype html|html|head|body)\b", text, re.IGNORECASE):
        return f"a web page (HTML), as a login or a wrong address answers, not the weights: {shown}"
    if language := {"<": "XML", "{": "JSON", "[": "JSON"}.get(text[:1]):
        return f"a text in {language}, as servers answer errors, not the weights: {shown}"
    return f"a text, not the weights: {shown}" if text else ""
