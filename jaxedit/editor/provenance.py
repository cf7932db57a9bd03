"""Pictures that we make carry, in a text chunk of the PNG file, all that makes them again."""

import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from etils import epath
from PIL import Image, PngImagePlugin

from jaxedit.atomic_write import atomic_write
from jaxedit.data.pictures import png_chunks

CHUNK = "jaxedit"
_NEEDED = (  # to make any picture again
    *("model", "method", "dtype", "rows_per_device", "seed"),
    *("weights_sha256", "backend", "versions"),
)
EDITED = (*_NEEDED, "instruction", "source", "source_sha256")
DRAWN = (*_NEEDED, "prompt")


def sha256(*paths: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of the bytes of files, local or on gs://, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        with epath.Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def require_writable(path: str | os.PathLike) -> pathlib.Path:
    """Check, before any work is done, that a PNG file can be written at `path`.

    Returns:
      The path.

    Raises:
      ValueError: the name does not end in .png.
      OSError: the folder is missing or may not be written, or a folder has that name.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: expected a name ending in .png, which can carry the settings")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file name, found a folder")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise OSError(f"{path}: cannot write there: {error.strerror}") from error


def require_other(output: pathlib.Path, source: str | os.PathLike) -> None:
    """Raise ValueError if `output` is the picture that is edited, however it is spelled."""
    if output.exists() and os.path.exists(source) and output.samefile(source):
        raise ValueError(f"{output}: the picture itself: expected another name for its edit")


def find_source(settings: dict[str, Any], edited: pathlib.Path) -> str:
    """Return where the picture lies that an edit was made from.

    It is looked for under its own name beside the edited picture and in the current folder, and
    told by its bytes; if none has the right ones, another file of its name is returned.

    Args:
      settings: of the edit. Those of older versions hold the whole path of the picture.
      edited: the edited picture.

    Raises:
      OSError: no such file is there.
    """
    name = pathlib.Path(settings["source"])
    places = (name, edited.parent / name.name, pathlib.Path(name.name))
    there = [place for place in dict.fromkeys(places) if place.is_file()]
    if not there:
        raise OSError(
            f"{name.name}: the photo is not there any more; give its path before --from_png"
        )
    same = (place for place in there if sha256(place) == settings["source_sha256"])
    return str(next(same, there[0]))


def save_png(path: str | os.PathLike, image: Image.Image, settings: dict[str, Any]) -> None:
    """Write a picture and its settings, first under a temporary name.

    Args:
      path: ends in .png; replaced only once the new file is complete.
      image: any mode that PNG holds.
      settings: JSON values.

    Raises:
      OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"sRGB", b"\0")  # the colours of its pixels
    chunks.add_text(CHUNK, json.dumps(settings))
    with atomic_write(path) as part:
        image.save(part, format="PNG", pnginfo=chunks)


def read_settings(path: str | os.PathLike, needed: Sequence[str] = EDITED) -> dict[str, Any]:
    """The settings that `save_png` wrote.

    Args:
      path: of the picture.
      needed: settings that it must have, `EDITED` or `DRAWN`.

    Raises:
      ValueError: not a picture that jaxedit wrote, or it lacks a needed setting; one line.
      OSError: no such file.
    """
    try:
        found = png_chunks.texts(pathlib.Path(path).read_bytes(), CHUNK)
        settings = json.loads(next(value for _, value in found))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except (StopIteration, ValueError, OSError) as error:
        raise ValueError(f"{path}: expected a PNG file that jaxedit wrote") from error
    settings = settings if isinstance(settings, dict) else {}
    missing = [name for name in needed if name not in settings]
    for mark, command in (("prompt", "jaxedit.generate"), ("instruction", "jaxedit")):
        if missing and mark in settings and mark not in needed:
            raise ValueError(f"{path}: made by python -m {command}, which also makes it again")
    if missing:
        raise ValueError(f"{path}: the settings in it lack {', '.join(missing)}")
    return settings
