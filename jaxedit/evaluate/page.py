"""The report of an evaluation as one page to look at, with its pictures inside."""

import base64
import html
import io
import json
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.evaluate.results import as_json
from jaxedit.evaluate.scores.score import Edit

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")
_SIDE = 192  # pixels of a picture on the page, at most


def page(
    title: str,
    subtitle: str,
    table: str,
    samples: Sequence[Mapping[str, Any]],
    is_higher_better: Mapping[str, bool],
) -> str:
    """Return the page in HTML; it loads nothing from anywhere.

    Args:
      table: a Markdown table of the means.
      samples: as `sample_of` returns them.
      is_higher_better: for each score, which the page sorts by.
    """
    known = {name for sample in samples for name in sample["scores"]}
    scores = {name: is_higher for name, is_higher in is_higher_better.items() if name in known}
    data = json.dumps({"scores": scores, "samples": list(samples)})
    return string.Template(_TEMPLATE.read_text("utf-8")).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        table=_table(table),
        data=data.replace("<", "\\u003c"),  # no text may end the script
    )


def sample_of(edit: Edit, scores: Mapping[str, float]) -> dict[str, Any]:
    """Return what the page shows of an edit."""
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
    }


def _data_url(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((_SIDE, _SIDE))
    times = _SIDE // max(image.size)  # small pictures are shown larger, with sharp pixels
    image = image.resize([times * side for side in image.size], Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _table(markdown: str) -> str:
    """Return a Markdown table in HTML."""
    rows = [line[2:-2].split(" | ") for line in markdown.splitlines() if "---" not in line]
    rows = [[html.escape(cell.strip("* ")) for cell in row] for row in rows]
    head, *body = rows
    cells = "".join(f"<th>{cell}</th>" for cell in head)
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
