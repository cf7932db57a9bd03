"""Convert a published data set, or your own pairs, to a store that training reads.

    python -m jaxedit.datasets.convert --dataset=pairs --src=my_pairs --out=stores/mine
    python -m jaxedit.datasets.convert --dataset=pipe --src=PIPE --out=stores/pipe --workers=16

Your own pairs are a folder with source/cat.jpg, target/cat.png, instruction/cat.txt and perhaps
mask/cat.png (white = edited) for each pair; or a .jsonl or .csv file with the columns source,
target, instruction and perhaps mask and task, its paths relative to the file.

A store is a directory of ArrayRecord files, to be given as `data.source=` in training or opened by
`tfds.builder_from_directory`. Every picture is decoded, its short side is reduced to --store_px,
and rows that are not pairs are dropped; report.json counts them by reason. To continue a conversion
that was stopped, run the same command again; an unfinished conversion cannot be used as a store.
Exit codes: 0 done; 2 bad input.
"""

import argparse
import os
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any, get_type_hints

from jaxedit import console
from jaxedit.config.comments import comments_of
from jaxedit.config.fields import choices_of
from jaxedit.console import DONE, Parser, exit_code
from jaxedit.datasets.convert.store_config import StoreConfig
from jaxedit.datasets.readers import DATASETS
from jaxedit.engines.options import EngineConfig, add_options


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code(
        lambda: _run(make_parser().parse_args(argv)),
        stopped="stopped: run the same command to continue",
    )


def _run(args: argparse.Namespace) -> int:
    from jaxedit.datasets.convert.write_store import convert

    report = convert(StoreConfig(**vars(args)))
    print(f"{args.out}: {report.summary()}")
    return DONE


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command, with an option for each field of `StoreConfig`."""
    parser = Parser(
        prog="python -m jaxedit.datasets.convert",
        usage="python -m jaxedit.datasets.convert --dataset=NAME --src=DIR --out=DIR [options]",
        description=__doc__,
        epilog=textwrap.fill(f"data sets: {', '.join(DATASETS)}", 100, break_on_hyphens=False),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser, EngineConfig, workers=os.cpu_count())
    for name in StoreConfig.__annotations__:  # not those of EngineConfig
        hint = get_type_hints(StoreConfig)[name]
        default, about = getattr(StoreConfig, name, None), comments_of(StoreConfig)[name]
        option: dict[str, Any] = {"type": hint, "default": default}
        if name == "dataset":
            option = {"choices": list(DATASETS), "metavar": "NAME", "required": True}
        elif choices := choices_of(hint):
            option = {"choices": choices, "default": default}
        elif hint is bool:
            option = {"action": "store_true"}
        elif hint is not int:
            option = {"type": pathlib.Path, "metavar": "DIR", "required": name in ("src", "out")}
        parser.add_argument(f"--{name}", **option, help=about)
    return parser


def run() -> None:
    """Run the command `jaxedit data`."""
    console.run(main)


if __name__ == "__main__":
    run()
