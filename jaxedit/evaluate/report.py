"""The report of an evaluation as Markdown, in the units and with the rounding of the papers."""

import csv
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxedit.atomic_write import atomic_write
from jaxedit.evaluate.results import Row

Format = tuple[float, int]  # factor and decimals of a score


def report(summary: Mapping[str, Any], formats: Mapping[str, Format]) -> str:
    """Return the page: a table of all scores by type, what is not there, and all variants."""
    names = list(summary["scores"])
    there = [name for name in names if "mean" in summary["scores"][name]]
    types = list(dict.fromkeys(t for n in there for t in summary["scores"][n].get("types", ())))
    lines = [f"# {summary['benchmark']}: {summary['edits']}", ""]
    lines += [_line(["", *(f"{name}{_units(formats[name])}" for name in names)])]
    lines += [_line(["---"] * (len(names) + 1))]
    if len(types) > 1:
        for type_ in types:
            found = [summary["scores"][name].get("types", {}).get(type_) for name in names]
            cells = [_cell(f, formats[n]) for f, n in zip(found, names, strict=True)]
            lines.append(_line([type_ or "no type", *cells]))
    whole = [_cell(summary["scores"][name], formats[name]) for name in names]
    lines += [_line(["**all**", *whole]), ""]
    counted = summary["samples"] - len(summary["missing"])
    lines += [f"{counted} of {summary['samples']} edits scored.", ""]
    for name in names:
        found = summary["scores"][name]
        if "unavailable" in found:
            lines.append(f"- {name}: – ({found['unavailable']})")
        elif found.get("n_nan") or found.get("n_inf"):
            lines.append(
                f"- {name}: {found['n']} samples count, {found['n_nan']} have no value, "
                f"{found['n_inf']} are infinite (mean of the others "
                f"{_cell(found | {'mean': found['mean_finite']}, formats[name])})"
            )
    lines += ["", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in summary["settings"].items()]
    return "\n".join(lines) + "\n"


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


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _units(form: Format) -> str:
    factor, _ = form
    return "" if factor == 1 else f" ×{factor:g}"


def _cell(found: Mapping[str, Any] | None, form: Format) -> str:
    """Return a mean in the papers' units, – where there is none."""
    if found is None or "mean" not in found:
        return "–"
    factor, decimals = form
    mean = float(found["mean"]) * factor
    return "–" if math.isnan(mean) else "inf" if math.isinf(mean) else f"{mean:.{decimals}f}"
