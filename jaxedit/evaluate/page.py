"""The report of an evaluation as one page to look at, with its pictures inside."""

import base64
import html
import io
import json
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxedit.evaluate.results import as_json
from jaxedit.evaluate.scores.score import Edit

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")
_SIDE = 192  # pixels of a picture on the page, at most


class Shown(NamedTuple):
    """The format of a score on the page, and the order by it."""

    factor: float
    decimals: int
    is_higher_better: bool


def page(
    title: str,
    subtitle: str,
    table: Sequence[Sequence[str]],
    samples: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Shown],
) -> str:
    """Return the page in HTML; it loads nothing from anywhere.

    Args:
      table: the means: names of scores, rows of types, and the row of all samples.
      samples: as `sample_of` returns them.
      scores: by name; the page offers those that samples have.
    """
    known = {name for sample in samples for name in sample["scores"]}
    shown = {name: score._asdict() for name, score in scores.items() if name in known}
    data = json.dumps({"scores": shown, "samples": list(samples)})
    return string.Template(_TEMPLATE.read_text("utf-8")).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        table=_table(table),
        data=data.replace("<", "\\u003c"),  # no text may end the script
    )


def sample_of(edit: Edit, scores: Mapping[str, float], links: Mapping[str, str]) -> dict[str, Any]:
    """Return the pictures, scores and texts of an edit, for the page.

    Args:
      links: addresses of whole pictures, relative to the page; empty for pictures not in files.
    """
    pictures = {"source": edit.source, "edit": edit.edited}
    if edit.mask is not None:
        pictures["mask"] = np.repeat(edit.mask[..., None], 3, -1).astype(np.uint8) * 255
    if edit.target is not None:
        pictures["target"] = edit.target
    return {
        "key": edit.sample.key,
        "type": edit.sample.type,
        "instruction": edit.sample.instruction,
        "scores": {name: as_json(value) for name, value in scores.items()},
        "pictures": {name: _data_url(picture) for name, picture in pictures.items()},
        "links": {name: link for name, link in links.items() if link},
    }


def _data_url(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((_SIDE, _SIDE))
    times = _SIDE // max(image.size)  # small pictures are shown larger, with sharp pixels
    image = image.resize([times * side for side in image.size], Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return the table in HTML; buttons in its head sort it by a column."""
    head, *body, whole = [[html.escape(cell) for cell in row] for row in rows]
    names = "".join(
        f'<th scope="col"><button>{name.replace("_", "_<wbr>")}</button></th>' for name in head[1:]
    )
    return (
        f'<thead><tr><th scope="col"><button>type</button></th>{names}</tr></thead>'
        f"<tbody>{''.join(map(_row, body))}</tbody><tfoot>{_row(whole)}</tfoot>"
    )


def _row(cells: Sequence[str]) -> str:
    head, *others = cells
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{c}</td>" for c in others)}</tr>'
