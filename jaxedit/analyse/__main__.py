"""Look into a trained model.

    python -m jaxedit.analyse attention --model=toy-varedit --data=toybox --out=results/attention
    python -m jaxedit.analyse attention --model=varedit-8b-512 --data=PIE-Bench \\
        --layers=0,1,20,39 --out=results/attention-8b

attention: how much the scales of the edit attend to the scales of the source and of the edit, in
each layer (VAREdit, figures 3 and 11), as heatmaps (attention.png) and as numbers (attention.npz).
docs/attention.md says what is measured.
Exit codes: 0 done; 2 bad input.
"""

import argparse
import pathlib
from collections.abc import Sequence

from jaxedit import console
from jaxedit.console import Parser, exit_code
from jaxedit.editor.command import MODEL, add_placement
from jaxedit.evaluate.arguments import EvaluateCommand

PROGRAM = "python -m jaxedit.analyse"


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _run(_make_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    from jaxedit.analyse.attention import analyse_attention

    return analyse_attention(args, EvaluateCommand(args))


def _make_parser() -> argparse.ArgumentParser:
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = Parser(prog=PROGRAM, description=__doc__, **options)
    analyses = parser.add_subparsers(dest="analysis", metavar="ANALYSIS", required=True)
    attention = analyses.add_parser(
        "attention",
        usage=f"{PROGRAM} attention --model=NAME --data=DIR --out=DIR [options]",
        help="attention scores between scales, layer by layer",
        description=__doc__,
        **options,
    )
    add = attention.add_argument
    add("--model", required=True, help=MODEL)
    add(
        "--data",
        required=True,
        metavar="DIR",
        help="PIE-Bench, or pairs as jaxedit.evaluate --benchmark=toybox writes them; "
        "toybox: held-out pairs of level 0",
    )
    add("--out", required=True, type=pathlib.Path, metavar="DIR", help="folder of the results")
    add(
        "--limit",
        type=int,
        default=64,
        metavar="N",
        help="N samples, evenly spaced (default 64)",
    )
    add(
        "--layers",
        type=_layers,
        metavar="N[,...]",
        help="draw these layers, counted from 0 (default all)",
    )
    add_placement(attention, EvaluateCommand)
    attention.set_defaults(dry_run=False)
    return parser


def _layers(text: str) -> tuple[int, ...]:
    """Return the numbers of layers that commas separate."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        message = f"{text!r}: expected numbers with commas between"
        raise argparse.ArgumentTypeError(message) from error


def run() -> None:
    """Run the command `jaxedit analyse`."""
    console.run(main)


if __name__ == "__main__":
    run()
