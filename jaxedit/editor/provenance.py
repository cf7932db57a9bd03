"""The settings that a picture carries, in a text chunk of its PNG file, to be made again."""

import hashlib
import json
import os
import pathlib
import tempfile
from typing import Any, Literal

from etils import epath
from PIL import Image

from jaxedit.atomic_write import atomic_write, free_name
from jaxedit.config import require
from jaxedit.data.pictures import png_chunks, png_writer

CHUNK = "jaxedit"
_ANY = ("model", "method", "dtype", "rows_per_device", "seed", "weights_sha256", "backend")
# purpose -> the settings that are needed to make a picture again
NEEDED = {
    "edit": (*_ANY, "versions", "instruction", "source", "source_sha256"),
    "draw": (*_ANY, "versions", "prompt"),
}
# setting -> the command whose pictures alone have it
_COMMANDS = {"instruction": "jaxedit", "prompt": "jaxedit.generate"}


def sha256(*paths: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of the bytes of files, local or gs://, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        with epath.Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def require_same(name: str, found: str, expected: str) -> None:
    """Raise ConfigError, which names the files, unless two SHA-256 are equal."""
    require(found == expected, f"{name} changed: sha256 {found[:12]}, expected {expected[:12]}")


def require_writable(path: str | os.PathLike) -> pathlib.Path:
    """Return the path, once it is sure that a PNG file can be written there.

    Missing folders are made when the file is written, see `save_png`.

    Raises:
      ValueError: the name does not end in .png.
      OSError: the folder cannot be made or is not writable, or `path` is a folder.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: expected a name ending in .png, which can carry the settings")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file name, found a folder")
    there = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return path
    except OSError as error:
        raise OSError(f"{path}: cannot write there: {error.strerror}") from error


def require_other(output: pathlib.Path, source: str | os.PathLike, what: str = "picture") -> None:
    """Raise ValueError if `output` is the file `source`, by any path; the message says `what`."""
    if output.exists() and os.path.exists(source) and output.samefile(source):
        raise ValueError(f"{output}: the {what} itself: expected another name for its edit")


def find_source(
    settings: dict[str, Any],
    edited: pathlib.Path,
    key: Literal["source", "mask"] = "source",
    hint: str = "the photo is not there any more; give its path before --from_png",
) -> str:
    """Return the path of the picture, or of the mask, that an edit was made from.

    Files of its name beside the edited picture and in the current folder are compared by their
    bytes. If no file has the right bytes, the first file of its name is returned.

    Args:
      settings: settings of the edit; older versions recorded the whole path of the picture.
      edited: the edited picture.
      key: which file; its name and its SHA-256 are in `settings`.
      hint: what to do if it is not there, for the message.

    Raises:
      OSError: there is no file of its name.
    """
    name = pathlib.Path(settings[key])
    places = (name, edited.parent / name.name, pathlib.Path(name.name))
    there = [place for place in dict.fromkeys(places) if place.is_file()]
    if not there:
        raise OSError(f"{name.name}: {hint}")
    same = (place for place in there if sha256(place) == settings[f"{key}_sha256"])
    return str(next(same, there[0]))


def save_png(path: str | os.PathLike, image: Image.Image, settings: dict[str, Any]) -> None:
    """Write a picture and its settings.

    Args:
      path: ends in .png; a file there is replaced only when the new file is complete. Missing
        folders are made.
      image: L or RGB.
      settings: JSON values.

    Raises:
      OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_bytes(encode(image, settings))


def save_new_png(
    path: str | os.PathLike, image: Image.Image, settings: dict[str, Any]
) -> pathlib.Path:
    """Write a picture and its settings to the next free name, such as path-2.png; return it."""
    with free_name(pathlib.Path(path)) as name:
        save_png(name, image, settings)
    return name


def encode(image: Image.Image, settings: dict[str, Any]) -> bytes:
    """Return the PNG file of a picture, L or RGB, with its settings."""
    text = json.dumps(settings).encode("ascii")
    # sRGB: the colour space of the pixels
    chunks = [(b"sRGB", b"\0"), (b"tEXt", CHUNK.encode("ascii") + b"\0" + text)]
    return png_writer.encode(image, chunks)


def read_settings(
    path: str | os.PathLike, purpose: Literal["edit", "draw"] = "edit"
) -> dict[str, Any]:
    """Read the settings that `save_png` wrote.

    Args:
      path: of the picture.
      purpose: of the model that made the picture.

    Raises:
      ValueError: the file is no picture that jaxedit wrote for this purpose, or lacks a setting
        that is needed to make it again; one line.
      OSError: there is no such file.
    """
    try:
        found = png_chunks.texts(pathlib.Path(path).read_bytes(), CHUNK)
        settings = json.loads(next(value for _, value in found))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except (StopIteration, ValueError, OSError) as error:
        raise ValueError(f"{path}: expected a PNG file that jaxedit wrote") from error
    settings = settings if isinstance(settings, dict) else {}
    missing = [name for name in NEEDED[purpose] if name not in settings]
    for name, command in _COMMANDS.items():
        if missing and name in settings and name not in NEEDED[purpose]:
            raise ValueError(f"{path}: made by python -m {command}, which also makes it again")
    if missing:
        raise ValueError(f"{path}: the settings in it lack {', '.join(missing)}")
    return settings
