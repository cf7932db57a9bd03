"""Print the tables of the papers, with our rows under the published rows.

    python -m jaxedit.evaluate.tables results/varedit results/erec
    python -m jaxedit.evaluate.tables --table=erec-table4
    python -m jaxedit.evaluate.tables results/* --table=varedit --format=csv --out=varedit.csv
    python -m jaxedit.evaluate.tables results/* --table=varedit-figure4 --out=figure4.png

Results of one model on several benchmarks share a row. A number that is not there is –, with the
reason in a footnote. Figures need matplotlib.
Exit codes: 0 done; 2 bad input.
"""

import argparse
import pathlib
import textwrap
from collections.abc import Sequence

from jaxedit import console
from jaxedit.atomic_write import atomic_write
from jaxedit.config import require
from jaxedit.console import DONE, Parser, exit_code
from jaxedit.evaluate.tables.figures import SUFFIXES
from jaxedit.evaluate.tables.folder import Folder, read_folder
from jaxedit.evaluate.tables.formats import as_csv, as_markdown
from jaxedit.evaluate.tables.published import Table, read_tables
from jaxedit.evaluate.tables.rows import is_scored, our_rows, published_rows

FORMATS = {"md": as_markdown, "csv": as_csv}
FIGURES = {"varedit-figure4": "draw_successful_edits", "varedit-figure5": "draw_types"}
ENDINGS = ", ".join(SUFFIXES)


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _run(_make_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    _check(args)
    folders = [read_folder(path) for path in args.results]
    if args.table in FIGURES:
        _draw(args.table, folders, args.out)
        return DONE
    tables = _choose(args.table, folders)
    write = FORMATS[args.format or "md"]
    texts = [write(t, published_rows(t), our_rows(t, folders)) for t in tables]
    if not args.out:
        print("\n".join(texts), end="")
        return DONE
    with atomic_write(args.out) as part:
        part.write_text("\n".join(texts), encoding="utf-8")
    print(f"{args.out}: {', '.join(table.name for table in tables)}")
    return DONE


def _check(args: argparse.Namespace) -> None:
    """Raise ConfigError unless format and name of the output fit a figure, or fit tables."""
    out = args.out
    if args.table in FIGURES:
        figure, expected = f"--table={args.table} is a figure", f"--out=FILE with {ENDINGS}"
        require(out is not None and out.suffix in SUFFIXES, f"{figure}: expected {expected}")
        require(args.format is None, f"{figure}: expected no --format={args.format}")
    is_picture = out is not None and out.suffix in SUFFIXES and args.table not in FIGURES
    names = " or ".join(f"--table={name}" for name in FIGURES)
    require(not is_picture, f"--out={out}: expected {names}, or a name for a table, such as a.md")
    is_folder = out is not None and out.is_dir()
    require(not is_folder, f"--out={out}: expected a file, found a folder")


def _choose(start: str | None, folders: Sequence[Folder]) -> list[Table]:
    """Return the tables whose names start like this; for None those with numbers of ours.

    Raises:
      ConfigError: there is none.
    """
    tables = read_tables()
    if start is not None:
        chosen = [table for name, table in tables.items() if name.startswith(start)]
        known = ", ".join([*tables, *FIGURES])
        require(len(chosen) > 0, f"--table={start}: expected one of {known}, or how some start")
        return chosen
    chosen = [table for table in tables.values() if is_scored(table, folders)]
    found = ", ".join(dict.fromkeys(folder.evaluated for folder in folders)) or "none"
    require(len(chosen) > 0, f"no table fits the results (of {found}): expected --table=NAME")
    return chosen


def _draw(name: str, folders: Sequence[Folder], out: pathlib.Path) -> None:
    from jaxedit.evaluate.tables import figures

    figures.save(getattr(figures, FIGURES[name])(folders), out)
    print(f"{out}: {name}")


def _make_parser() -> argparse.ArgumentParser:
    names = f"tables: {', '.join(read_tables())}; figures: {', '.join(FIGURES)}"
    parser = Parser(
        prog="python -m jaxedit.evaluate.tables",
        usage="python -m jaxedit.evaluate.tables [RESULTS ...] [options]",
        description=__doc__,
        epilog=textwrap.fill(names, 100, break_on_hyphens=False),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "results",
        nargs="*",
        type=pathlib.Path,
        metavar="RESULTS",
        help="folder that python -m jaxedit.evaluate wrote",
    )
    add("--table", metavar="NAME", help="or how names start (default: all with numbers of ours)")
    add("--format", choices=FORMATS, help="of tables (default md)")
    add("--out", type=pathlib.Path, metavar="FILE", help="write to a file")
    return parser


if __name__ == "__main__":
    console.run(main)
