"""The files of a finished evaluation: means, scores of each sample, report and page."""

import argparse
import csv
import json
import math
import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.atomic_write import atomic_write
from jaxedit.evaluate.judges import Rubric
from jaxedit.evaluate.markdown import Format, markdown, table, title
from jaxedit.evaluate.page import Shown, page, sample_of
from jaxedit.evaluate.results import Row, json_text
from jaxedit.evaluate.sample import Benchmark, Picture, Sample
from jaxedit.evaluate.score_samples import Paths, read_edit
from jaxedit.evaluate.scores.score import Score, SetScore
from jaxedit.progress import progress_bar


class Evaluated(NamedTuple):
    """Edits with all numbers about them.

    Attributes:
      samples: samples that have an edit.
      rows: the scores of each sample, in the same order.
      summary: the content of summary.json.
      rubric: of the judge, if there was one.
    """

    benchmark: Benchmark
    samples: Sequence[Sample]
    paths: Paths
    rows: Sequence[Row]
    summary: Mapping[str, Any]
    scores: Sequence[Score | SetScore]
    rubric: Rubric | None


def write_report(out: pathlib.Path, found: Evaluated, args: argparse.Namespace) -> None:
    """Write all files into a folder, each whole or not at all, and print the report.

    Raises:
      ValueError, OSError: a picture cannot be read any more, or a file cannot be written.
    """
    formats = _formats(found)
    text = markdown(found.summary, formats)
    files = {
        "report.html": _page(out, found, formats),  # the largest first, if the disk is full
        "report.md": text,
        "per_sample.jsonl": json_text(found.rows),
        "summary.json": json.dumps(found.summary, indent=1),
    }
    for name, content in files.items():
        with atomic_write(out / name) as part:
            part.write_text(content, encoding="utf-8")
    if args.format == "pnp-csv":
        method = pathlib.Path(found.summary["edits"]).name
        write_csv(out / "scores.csv", method, found.rows, list(formats))
    print(text)
    print(f"{out / 'report.html'}: all edits with their scores")


def write_csv(path: pathlib.Path, method: str, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Write the scores of each sample as PnPInversion's readers take them.

    Raises:
      OSError: the file cannot be written.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_id", *(f"{method}|{name}" for name in names)])
        for row in rows:
            scores = (row["scores"].get(name, math.nan) for name in names)
            key = row["key"].rpartition("/")[2]
            writer.writerow([key, *("nan" if math.isnan(x) else x for x in scores)])


def _formats(found: Evaluated) -> dict[str, Format]:
    """Return factor and decimals of each number in the report."""
    formats = {score.name: (score.factor, score.decimals) for score in found.scores}
    if found.rubric:
        formats |= {name: (1.0, found.rubric.decimals) for name in found.rubric.scores}
    return formats | {"seconds": (1.0, 2)}


def _page(out: pathlib.Path, found: Evaluated, formats: Mapping[str, Format]) -> str:
    """Return the page with all pictures."""
    better = {s.name: s.is_higher_better for s in found.scores if isinstance(s, Score)}
    judged = {name: True for name in found.rubric.scores} if found.rubric else {}
    shown = []
    with progress_bar("page", len(found.samples)) as bar:
        for sample, row in zip(found.samples, found.rows, strict=True):
            path = found.paths[sample.key]
            edit = read_edit(found.benchmark, sample, path)
            pictures = {"source": sample.source, "edit": path, "target": sample.target}
            links = {name: _link(picture, out) for name, picture in pictures.items()}
            shown.append(sample_of(edit, row["scores"], links))
            bar.update()
    there = {name: s for name, s in found.summary["scores"].items() if "mean" in s}
    return page(
        title(found.summary),
        f"{len(found.samples)} edits",
        table(found.summary | {"scores": there}, formats),
        shown,
        {name: Shown(*formats[name], is_higher) for name, is_higher in (judged | better).items()},
    )


def _link(picture: Picture | None, out: pathlib.Path) -> str:
    """Return the address of a picture file relative to the folder of the page, if it is a file."""
    if not isinstance(picture, pathlib.Path):
        return ""
    try:
        path = os.path.relpath(picture, out)
    except ValueError:  # on another drive
        return ""
    return urllib.parse.quote(pathlib.Path(path).as_posix())
