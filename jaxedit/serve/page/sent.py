"""The photo and the mask that the page's canvas holds, and their files."""

import base64
import binascii
import io
import pathlib
from typing import Any

from PIL import Image

from jaxedit.assets import ROOT
from jaxedit.serve.edit_request import decode
from jaxedit.serve.edited import Upload
from jaxedit.serve.errors import invalid

EXAMPLE = ROOT / "scene.png"
_PNG = "data:image/png;base64,"


def photo_of(canvas: Any, folder: pathlib.Path) -> Upload:
    """Return the photo on the canvas.

    Args:
      canvas: what the page sends: "photo" and "mask_file" are None or name an uploaded file, and
        "mask" is None or a PNG as a data URL.
      folder: of the uploaded files; no other file is read.

    Raises:
      APIError: there is no photo.
    """
    photo = canvas.get("photo") if isinstance(canvas, dict) else None
    if not isinstance(photo, dict):
        raise invalid("image: none: expected a photo: drop one on the page", "image")
    if photo.get("example"):
        return Upload(EXAMPLE.name, EXAMPLE.read_bytes())
    return _read(photo, folder, "image")


def mask_of(
    canvas: dict[str, Any], size: tuple[int, int], folder: pathlib.Path, max_pixels: int
) -> tuple[Image.Image | None, Upload | None]:
    """Return the mask on the canvas and its file, or None twice.

    Args:
      canvas, folder: see `photo_of`.
      size: (width, height) of the photo; the drawn mask, which may be smaller or larger, gets it.
      max_pixels: of a mask.

    Raises:
      ValueError: the mask cannot be read; one line.
    """
    if isinstance(file := canvas.get("mask_file"), dict):
        upload = _read(file, folder, "mask")
        return decode(upload.data, "mask", max_pixels), upload
    if (drawn := canvas.get("mask")) is None:
        return None, None
    image = decode(_png_of(drawn), "mask", max_pixels)
    alpha = image.convert("RGBA").getchannel("A").resize(size, Image.Resampling.BOX)
    mask, file = alpha.point(lambda opacity: 255 * (opacity > 127)), io.BytesIO()
    mask.save(file, format="PNG")
    return mask, Upload("mask.png", file.getvalue())


def _read(sent: dict[str, Any], folder: pathlib.Path, name: str) -> Upload:
    """Return an uploaded file; files outside `folder` do not exist here."""
    path = pathlib.Path(str(sent.get("path"))).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise invalid(f"{name}: the file is not kept any more: choose it again", name)
    return Upload(str(sent.get("name") or path.name), path.read_bytes())


def _png_of(drawn: Any) -> bytes:
    try:
        return base64.b64decode(str(drawn).removeprefix(_PNG), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("mask: expected a PNG file", "mask") from error
