"""Print results on toybox as a Markdown table with a column for each folder (docs/evaluation.md).

    python benchmarks/toybox_table.py results/varedit results/editar results/erec

Success is the share of edits in which the exact checker finds the edit as asked (edited) and all
else as it was (kept). ± is one standard error.
"""

import argparse
import json
import math
import pathlib
from typing import Any

Score = dict[str, Any]  # of summary.json


def main() -> None:
    """Print the table of the folders on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", type=pathlib.Path, metavar="RESULTS")
    folders = parser.parse_args().results
    columns = [column(json.loads((folder / "summary.json").read_bytes())) for folder in folders]
    names = list(columns[0])
    rows = [["", *(c["name"] for c in columns)], ["---"] * (len(columns) + 1)]
    rows += [[name, *(c[name] for c in columns)] for name in names[1:]]
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))


def column(summary: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a summary by the name of their row."""
    scores = summary["scores"]
    success = scores["toy_bal"]
    of_types = {f"success, {name}": share(found) for name, found in success["types"].items()}
    return {
        "name": f"`{summary['edits']}`, `{summary['settings']['method']}`",
        "edits": str(success["n"]),
        "success": share(success),
        "edited": share(scores["toy_suc"]),
        "kept": share(scores["toy_over"]),
        "PSNR of the background": with_error(scores["psnr_background"], 1, 1),
        "SSIM of the background": with_error(scores["ssim_background"], 1, 3),
        **of_types,
    }


def share(score: Score) -> str:
    """Return the share of edits that the checker accepts; its scores are 0 or 10."""
    return with_error(score, 0.1, 2)


def with_error(score: Score, factor: float, decimals: int) -> str:
    """Return the mean of finite values and its standard error."""
    mean, error = (factor * float(score[key]) for key in ("mean_finite", "standard_error"))
    text = f"{mean:.{decimals}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{decimals}f}"


if __name__ == "__main__":
    main()
