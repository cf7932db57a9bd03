"""Find training rows that show evaluation pictures, and exclude them from training.

    python -m jaxedit.datasets.near_duplicates --store=stores/multigen-depth --against=PIE-Bench

A row is excluded if its published target is the same file as one of the pictures, or if its source
or target, whole or its middle square, looks the same: their 64-bit perceptual hashes differ in at
most --distance bits. The rows are listed in the store's drop.near_duplicates.jsonl, which training
skips; delete the file to include the rows again. Hashes are kept in the store's folder hashes: a
stopped run continues there, and a comparison with other pictures takes seconds. A run with --shard
computes a part of the hashes and compares nothing.
Exit codes: 0 done; 2 bad input.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence

from jaxedit import console
from jaxedit.config import require
from jaxedit.console import DONE, Parser, exit_code
from jaxedit.engines.options import add_options, shard_config


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code(
        lambda: _run(make_parser().parse_args(argv)),
        stopped="stopped: run the same command to continue",
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments of the command."""
    parser = Parser(
        prog="python -m jaxedit.datasets.near_duplicates",
        usage="python -m jaxedit.datasets.near_duplicates --store=DIR --against=DIR [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    several = {"action": "append", "required": True, "type": pathlib.Path, "metavar": "DIR"}
    add = parser.add_argument
    add("--store", **several, help="store to search; may be given again")
    add("--against", **several, help="directory of pictures, or a store; may be given again")
    add("--distance", type=int, default=4, help="bits of 64 that may differ (default 4)")
    add_options(parser, workers=os.cpu_count())
    return parser


def _run(args: argparse.Namespace) -> int:
    from jaxedit.data import drop_list
    from jaxedit.data.store import Store
    from jaxedit.datasets.near_duplicates.perceptual_hash import import_imagehash
    from jaxedit.datasets.near_duplicates.search import Pictures, find
    from jaxedit.datasets.near_duplicates.store_hashes import hash_rows

    config = shard_config(args)
    require(0 <= args.distance < 32, f"--distance={args.distance}: expected 0 to 31")
    for place in args.against:
        require(place.is_dir(), f"--against={place}: no such directory")
    stores = [Store(place, keeps_dropped=True) for place in args.store]
    import_imagehash()
    pictures = None if config.shard else Pictures(args.against)
    for store in stores:
        hash_rows(store, config)
        if pictures is None:
            print(f"{store.directory}: hashes of shard {config.shard} are there")
            continue
        rows = find(store, pictures, args.distance)
        path = drop_list.write(store.directory, "near_duplicates", rows)
        print(
            f"{store.directory}: {len(rows)} of {len(store)} rows show one of "
            f"{len(pictures.names)} pictures: {path}"
        )
    return DONE


if __name__ == "__main__":
    console.run(main)
