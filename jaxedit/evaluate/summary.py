"""Means of the scores over a benchmark, and over each of its types."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxedit.evaluate.results import Row, as_json
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import is_defined
from jaxedit.evaluate.scores.score import Score, SetScore

Summary = dict[str, Any]


def summarise(values: Iterable[float]) -> Summary:
    """Return mean, standard error and counts of a score.

    NaN (the score is not defined for a sample, such as outside a mask that covers everything)
    does not count. `mean` is infinite if a value is; `mean_finite` leaves infinite values out.
    """
    values = list(values)
    counted = [value for value in values if not math.isnan(value)]
    finite = [value for value in counted if math.isfinite(value)]
    n = len(finite)
    mean = sum(finite) / n if n else math.nan
    variance = sum((value - mean) ** 2 for value in finite) / (n - 1) if n > 1 else math.nan
    n_inf = len(counted) - n
    return {
        "mean": as_json(sum(counted) / len(counted) if counted else math.nan),
        "mean_finite": as_json(mean),
        "standard_error": as_json(math.sqrt(variance / n) if n > 1 else math.nan),
        "n": len(counted),
        "n_nan": len(values) - len(counted),
        "n_inf": n_inf,
    }


def summarise_types(rows: Sequence[Row], name: str, average: str) -> Summary:
    """Return the summary of a score over all rows, with that of each type in `types`.

    Args:
      average: "samples", or "types" for the mean of the types' means.
    """
    kept = [row for row in rows if name in row["scores"]]
    types = {
        type_: summarise(row["scores"][name] for row in kept if row["type"] == type_)
        for type_ in dict.fromkeys(row["type"] for row in kept)
    }
    whole = summarise(row["scores"][name] for row in kept)
    if average == "types":
        whole |= {
            key: summarise(float(found[key]) for found in types.values())["mean"]
            for key in ("mean", "mean_finite")
        }
    return whole | {"types": types}


def summarise_scores(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    rows: Sequence[Row],
    scores: Sequence[Score | SetScore],
    whole: Mapping[str, float],
    absent: Mapping[str, str],
) -> dict[str, Summary]:
    """Return the summary of each score; without values it says why under "unavailable".

    Args:
      rows: of the samples.
      whole: scores of all edits together, by name.
      absent: names of networks that are not there.
    """
    found: dict[str, Summary] = {}
    for score in scores:
        if score.network in absent:
            found[score.name] = {
                "unavailable": f"needs {score.network}; report.md says how to get it"
            }
        elif not any(is_defined(score, sample) for sample in samples):
            needs = ", ".join(score.needs)
            found[score.name] = {"unavailable": f"the benchmark's samples lack {needs}"}
        elif isinstance(score, SetScore):
            found[score.name] = {"mean": as_json(whole[score.name]), "n": len(samples)}
        else:
            found[score.name] = summarise_types(rows, score.name, benchmark.average)
    return found
