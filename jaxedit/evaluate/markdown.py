"""The report of an evaluation as Markdown, in the units and with the rounding of the papers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Format = tuple[float, int]  # factor and decimals of a score
_SHOWN = 20  # missing edits


def markdown(summary: Mapping[str, Any], formats: Mapping[str, Format]) -> str:
    """Return the report: the means, why some are missing, and all settings."""
    head, *rows, whole = table(summary, formats)
    lines = [f"# {title(summary)}", ""]
    lines += [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
    lines += [_line([f"**{whole[0]}**", *whole[1:]]), ""]
    missing = summary["missing"]
    counted = summary["samples"] - len(missing)
    lines += [f"{counted} of {summary['samples']} edits scored.", ""]
    lines += [f"- no edit {key}: {reason}" for key, reason in list(missing.items())[:_SHOWN]]
    lines += ["- others are listed in summary.json"] if len(missing) > _SHOWN else []
    absent: dict[str, list[str]] = {}  # reason -> scores
    for name, found in summary["scores"].items():
        if "unavailable" in found:
            absent.setdefault(found["unavailable"], []).append(name)
        elif found.get("n_nan") or found.get("n_inf"):
            lines.append(
                f"- {name}: {found['n']} samples count, {found['n_nan']} have no value, "
                f"{found['n_inf']} are infinite (mean of the others "
                f"{_cell(found | {'mean': found['mean_finite']}, formats[name])})"
            )
    lines += [f"- {', '.join(names)}: – ({reason})" for reason, names in absent.items()]
    lines += ["", *(f"{how}\n" for how in summary["networks"].values())]
    lines += ["| setting | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in summary["settings"].items()]
    return "\n".join(lines) + "\n"


def title(summary: Mapping[str, Any]) -> str:
    """Return the title: the benchmark, the model or folder, and the method if it is known."""
    method = summary["settings"].get("method")
    return f"{summary['benchmark']}: {summary['edits']}{f', {method}' if method else ''}"


def table(summary: Mapping[str, Any], formats: Mapping[str, Format]) -> list[list[str]]:
    """Return the means as rows of texts: names of scores, a row for each type, and all samples."""
    names = list(summary["scores"])
    there = [name for name in names if "mean" in summary["scores"][name]]
    types = list(dict.fromkeys(t for n in there for t in summary["scores"][n].get("types", ())))
    rows = [["", *(f"{name}{_units(formats[name])}" for name in names)]]
    for type_ in types if len(types) > 1 else ():
        found = [summary["scores"][name].get("types", {}).get(type_) for name in names]
        cells = [_cell(f, formats[n]) for f, n in zip(found, names, strict=True)]
        rows.append([type_ or "no type", *cells])
    return [*rows, ["all", *(_cell(summary["scores"][name], formats[name]) for name in names)]]


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
