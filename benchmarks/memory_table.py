"""The memory of one edit by each released editor, as the README and docs/weights.md show it.

    python benchmarks/memory_table.py            # print the rows
    python benchmarks/memory_table.py --write    # put them into both pages

The numbers are those of `python -m jaxedit --model=NAME --dry_run`; no weights are needed.
"""

import argparse
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "weights.md")
EDITORS = ("varedit-2b-512", "varedit-8b-512", "varedit-8b-1024", "editar-512")
NOTES = {"editar-512": "; its home is on no Hub: bring the file"}
INT8 = ("t5", "transformer")


def cells(name: str) -> str:
    """The cells of a row: bfloat16, int8, and int8 with the text encoder on the host."""
    from jaxedit.config import official, settings_of
    from jaxedit.editor import edit_memory
    from jaxedit.planning.device_memory import GB, total

    config = official(name).config
    settings = settings_of(config, None, {})
    plans = (
        edit_memory.Plan(),
        edit_memory.Plan(int8=INT8),
        edit_memory.Plan(int8=INT8, text="host"),
    )
    sizes = [total(edit_memory.memory_items(config, settings, plan)) / GB for plan in plans]
    whole, small, host = (f"{size:.1f} GB" for size in sizes)
    return f"| `{name}` | {whole} | {small} | {host} with T5 on the host{NOTES.get(name, '')} |"


def with_sizes(text: str) -> str:
    """A page with the sizes of today in the rows of the editors."""
    for name in EDITORS:
        row = rf"\| `{name}` \|[^|\n]*\|[^|\n]*\|[^|\n]*\|"
        text, count = re.subn(row, lambda _, name=name: cells(name), text, count=1)
        if not count:
            raise SystemExit(f"no row of {name}")
    return text


def main() -> None:
    """Print the rows, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into the pages")
    if parser.parse_args().write:
        for page in PAGES:
            page.write_text(with_sizes(page.read_text("utf-8")), "utf-8")
    else:
        print("\n".join(map(cells, EDITORS)))


if __name__ == "__main__":
    main()
