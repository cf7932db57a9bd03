"""Conversion of pictures with a colour profile to sRGB, on which the models were trained."""

import functools
import io
import logging

import numpy as np
from PIL import Image, ImageCms, features

from jaxedit.warn_once import warn_once

log = logging.getLogger(__name__)

_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space -> Pillow's mode
_SAME = 2  # levels by which another profile of sRGB may differ
_STEPS = np.linspace(0, 255, 9).round().astype(np.uint8)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB.

    Args:
      image: any mode without transparency that Pillow converts to RGB.
      profile: ICC profile of its colours. The pixels are not converted if the profile is None,
        damaged, of another colour space, or a profile of sRGB.

    Returns:
      RGB.
    """
    if image.mode not in _MODES.values():  # such as a palette
        image = image.convert("L" if image.mode == "1" else "RGB")
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        return ImageCms.applyTransform(image, transform)
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, or None if the colours need no transform."""
    if not features.check("littlecms2"):
        warn_once(log, "colour profiles of pictures are ignored: this Pillow lacks LittleCMS")
        return None
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(given.profile.xcolor_space) != mode:
            return None
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
        sample = _sample(mode)
        made, plain = ImageCms.applyTransform(sample, transform), sample.convert("RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # damaged
        return None
    apart = np.abs(np.asarray(made, np.int16) - np.asarray(plain, np.int16))
    return transform if apart.max() > _SAME else None


def _sample(mode: str) -> Image.Image:
    """Return a picture with colours from the whole range of a mode."""
    if mode == "CMYK":
        return Image.new(mode, (1, 1), (200, 100, 50, 25))
    channels = np.stack(np.meshgrid(*[_STEPS] * len(mode), indexing="ij"), axis=-1)
    return Image.fromarray(channels.reshape(1, -1, 3) if mode == "RGB" else channels.reshape(1, -1))
