"""Show and clear what is kept on disk between runs.

    python -m jaxedit cache
    python -m jaxedit cache --clear=programs

programs: compiled programs, kept so that a second start need not compile, and how long they took to
be ready; JAX_COMPILATION_CACHE_DIR names another folder for them. weights: official releases,
converted when first asked for. What the Hugging Face Hub downloads is kept by its own library and
is not listed.
Exit codes: 0 done; 2 bad input.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Sequence

from jaxedit import console
from jaxedit.cache.kept import PROGRAMS, WEIGHTS, Kept, kept_programs, kept_weights
from jaxedit.config import require
from jaxedit.console import DONE, Parser, exit_code

CLEAR = {"programs": (PROGRAMS,), "weights": (WEIGHTS,), "all": (PROGRAMS, WEIGHTS)}
AGES = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
SIZES = {"GB": 1e9, "MB": 1e6, "kB": 1e3}


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _run(_make_parser().parse_args(argv)))


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m jaxedit cache",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--clear", choices=CLEAR, help="delete these files")
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    return parser


def _run(args: argparse.Namespace) -> int:
    require(args.clear or not args.yes, "--yes: expected --clear beside it")
    kept = _all_kept()
    for item in kept:
        print(f"{item.kind}  {size_text(item.size):>9}  {age_text(item.written)}  {item.place}")
    if not kept:
        print("nothing is kept on disk")
    if args.clear:
        _clear([item for item in kept if item.kind in CLEAR[args.clear]], args.clear, yes=args.yes)
    return DONE


def _all_kept() -> list[Kept]:
    import jax

    from jaxedit import compile_cache
    from jaxedit.checkpoints import hub

    programs = jax.config.jax_compilation_cache_dir or compile_cache.DIRECTORY
    if "://" in programs:
        print(f"{PROGRAMS} are kept in {programs}, which is not listed here")
    found = [] if "://" in programs else kept_programs(pathlib.Path(programs).expanduser())
    return found + kept_weights(pathlib.Path(hub.CONVERTED).expanduser())


def _clear(items: list[Kept], name: str, *, yes: bool) -> None:
    """Delete the files, after the user has agreed."""
    if not items:
        print(f"--clear={name}: there is nothing to delete")
        return
    size = size_text(sum(item.size for item in items))
    if not yes:
        require(sys.stdin.isatty(), f"--clear={name}: nobody can be asked; expected --yes")
        if input(f"delete {size}? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was deleted")
            return
    for item in items:
        item.delete()
    print(f"deleted {size}")


def size_text(size: float) -> str:
    """Return a number of bytes in the largest unit that fits."""
    unit = next((unit for unit, least in SIZES.items() if size >= least), "kB")
    return f"{size / SIZES[unit]:.1f} {unit}"


def age_text(written: float) -> str:
    """Return how long ago a time is, in seconds since 1970, in the largest unit that fits."""
    seconds = max(time.time() - written, 1)
    unit, length = next(item for item in AGES.items() if seconds >= item[1])
    return f"{seconds / length:>3.0f} {unit:<7} old"


def run() -> None:
    """Run the command `jaxedit cache`."""
    console.run(main)


if __name__ == "__main__":
    run()
