"""Picture files loaded as upright Pillow images, whatever metadata the files contain."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator

from PIL import (
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from jaxedit.data.pictures import picture_formats, picture_metadata, png_chunks, tiff_tags
from jaxedit.data.pictures.picture_formats import MAGICK, UnknownFormat

MAX_SIDE = 32_768  # pixels
MAX_PIXELS = 200_000_000  # takes up to two gigabytes of memory
_PLAIN = {"PNG", "JPEG", "WEBP"}  # formats that Pillow decodes without warnings and limits
_NO_PIXELS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # need programs beside Pillow
_ALPHA, _GREY = ("RGBA", "LA", "PA", "RGBa", "La"), ("1", "L", "LA", "La")  # modes
_KEPT = ("icc_profile", "transparency")
_ONE_AT_A_TIME = threading.Lock()
_Opened = tuple[Image.Image, int]  # an image and its orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class TooLarge(ValueError):
    """A picture has more pixels than the library reads, or no pixels."""


def load(
    file: io.BufferedIOBase,
    name: str,
    *,
    any_samples: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Load the picture in a file, upright and in any mode; the first if there are several.

    Args:
      any_samples: also read TIFF files whose samples have no known range, such as floats.
      max_pixels: pixels that the picture may have, fewer than `MAX_PIXELS`.

    Returns:
      A decoded image. Its `info` holds only "icc_profile" and "transparency", if the file has them.

    Raises:
      TooLarge: the picture has too many pixels; raised before they are decoded.
      UnknownFormat: Pillow does not read the file; the message says its format and how to convert
        the file.
      ValueError: the pixels are damaged or cut short. All messages are one line.
    """
    head = file.read(picture_formats.HEAD)
    file.seek(0)
    with _in_one_line(name):
        image, orientation = _opened(file, head, any_samples)
        _decode(image, name, max_pixels)
    image.info = {key: image.info[key] for key in _KEPT if image.info.get(key) is not None}
    return _turned(image, orientation)


def upright(image: Image.Image, name: str) -> Image.Image:
    """Decode an image if necessary, and turn it as the EXIF data in its `info` say.

    Raises:
      TooLarge, ValueError: as `load`.
    """
    with _in_one_line(name):
        _decode(image, name)
    return _turned(image, picture_metadata.orientation_in(image.info))


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours of an 8-bit image, in RGB or L, and its opacity, in L or None."""
    if image.mode not in _ALPHA and "transparency" not in image.info:
        return image, None
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    colours = rgba.getchannel("R") if image.mode in _GREY else rgba.convert("RGB")
    return colours, rgba.getchannel("A")


def require_size(size: tuple[int, int], name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise TooLarge if a picture of (width, height) pixels is larger than the limits, or empty."""
    width, height = size
    if max(size) > MAX_SIDE or width * height > max_pixels:
        raise TooLarge(
            f"{name}: {width}x{height} pixels: expected at most {MAX_SIDE} a side and "
            f"{max_pixels} in all"
        )
    if not width * height:
        raise TooLarge(f"{name}: {width}x{height} pixels: expected at least one")


@contextlib.contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """Turn any exception of a decoder into one of the errors of `load`."""
    try:
        yield
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:  # some formats reveal their size too late
        raise TooLarge(f"{name}: far more pixels than the {MAX_PIXELS} that are read") from error
    except UnknownFormat as error:
        raise UnknownFormat(f"{name}: not a readable picture: {error}") from error
    except Exception as error:  # each decoder fails in its own way on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name}: not a readable picture: {reason}") from error


def _decode(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> None:
    require_size(image.size, name, max_pixels)
    with contextlib.nullcontext() if image.format in _PLAIN else _alone():
        try:
            image.load()
        except OSError:
            raise
        except Exception:
            if getattr(image, "tile", True):
                raise
            # The pixels are complete: Pillow failed on later parts of the file.


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _opened(file: io.BufferedIOBase, head: bytes, any_samples: bool) -> _Opened:
    """Open a picture without decoding it."""
    if head.startswith(png_chunks.MAGIC):
        return _of_parts(PngImagePlugin.PngImageFile, picture_metadata.of_png(file.read()))
    if head.startswith(picture_metadata.JPEG_MAGIC):
        return _of_parts(JpegImagePlugin.JpegImageFile, picture_metadata.of_jpeg(file.read()))
    if head.startswith(tiff_tags.MAGICS) and (tags := tiff_tags.read(file.read())):
        return _of_tiff(tags, any_samples)
    if head[4:8] == b"ftyp" and b"avif" in head[8:64]:
        file = io.BytesIO(picture_metadata.without_exif(file.read()))
    Image.init()
    with _alone():
        try:
            image = Image.open(file, formats=[kind for kind in Image.ID if kind not in _NO_PIXELS])
        except UnidentifiedImageError as error:
            what = picture_formats.described(head) or "of no known format"
            raise UnknownFormat(what) from error
    return image, picture_metadata.orientation_in(image.info)


def _of_parts(kind: type[ImageFile.ImageFile], parts: picture_metadata.Parts) -> _Opened:
    image = kind(io.BytesIO(parts.pixels))
    image.info["icc_profile"] = parts.profile
    return image, parts.orientation


def _of_tiff(tags: tiff_tags.Tags, any_samples: bool) -> _Opened:
    tiff_tags.require_photo(tags, any_samples=any_samples)
    with _alone():
        try:
            return _of_parts(TiffImagePlugin.TiffImageFile, picture_metadata.of_tiff(tags))
        except SyntaxError as error:
            raise UnknownFormat(f"TIFF of an unusual kind ({error}): {MAGICK}") from error


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Open or decode without Pillow's warnings, and with this module's limit on pixels.

    Warnings and limit are settings of the whole process, so that only one thread at a time may do
    so. If another part of the program sets the limit meanwhile, its value is kept.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        try:
            yield
        finally:
            if Image.MAX_IMAGE_PIXELS == MAX_PIXELS:
                Image.MAX_IMAGE_PIXELS = limit
