"""Training pairs of any size to squares. No flips and no colour changes: instructions name both."""

from PIL import Image


def cover_crop(
    image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """Resize so that the short side is `size` pixels, then cut the middle square out.

    Only the square is computed, so a long and narrow picture takes no more memory than others.

    Source: VAREdit's and EditAR's training data; both sides are truncated to whole pixels.
    """
    width, height = image.size
    short = min(width, height)
    wide, high = size * width // short, size * height // short
    left, top = (wide - size) // 2, (high - size) // 2
    x, y = width / wide, height / high  # pixels of the picture per pixel of the resized one
    box = (left * x, top * y, (left + size) * x, (top + size) * y)
    return image.resize((size, size), resample, box)


def crop_pair(
    source: Image.Image, target: Image.Image, mask: Image.Image | None, size: int
) -> tuple[Image.Image, Image.Image, Image.Image | None]:
    """Both pictures and the mask as squares of `size` pixels that show the same region.

    The target first takes the source's size, whatever its proportions, as in VAREdit's training.
    """
    target = target.resize(source.size, Image.Resampling.LANCZOS)
    if mask is not None:
        nearest = Image.Resampling.NEAREST
        mask = cover_crop(mask.resize(source.size, nearest), size, nearest)
    return cover_crop(source, size), cover_crop(target, size), mask
