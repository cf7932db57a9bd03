"""Edits to look at: source and edit, or several edits, side by side."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_LEAST, _MOST = 192, 512  # pixels, smallest and largest long side of a picture that is shown
_GAP = 8  # pixels between pictures
_LINE = 16  # pixels, height of a caption


def side_by_side(
    pictures: Sequence[Image.Image], captions: Sequence[str], title: str, *, most: int = _MOST
) -> Image.Image:
    """Return pictures in a row, each under its caption, and all under a title.

    Small pictures are enlarged, pixel by pixel; pictures with a side of over `most` pixels are made
    smaller.
    """
    shown = [_shown(picture, most) for picture in pictures]
    width = sum(picture.width + _GAP for picture in shown) + _GAP
    height = max(picture.height for picture in shown) + 2 * _LINE + 2 * _GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE * 3 // 4), _GAP
    pen.text((x, _GAP // 2), title, fill="black", font=font)
    for picture, caption in zip(shown, captions, strict=True):
        pen.text((x, _GAP // 2 + _LINE), caption, fill="gray", font=font)
        sheet.paste(picture, (x, _GAP + 2 * _LINE))
        x += picture.width + _GAP
    return sheet


def as_html(picture: Image.Image, text: str) -> str:
    """Return a picture as HTML that stands alone; screen readers read the text."""
    file = io.BytesIO()
    picture.save(file, "png")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(text)}">'


def _shown(picture: Image.Image, most: int) -> Image.Image:
    long = max(picture.size)
    if long > most:
        size = [max(1, round(side * most / long)) for side in picture.size]
        return picture.resize(size, Image.Resampling.LANCZOS)
    factor = -(-_LEAST // long)
    return picture.resize([side * factor for side in picture.size], Image.Resampling.NEAREST)
