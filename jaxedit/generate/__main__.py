"""Draw pictures from texts, or from classes, with the base models.

    python -m jaxedit.generate --model=infinity-2b "a cat" --seed 1 --output generated.png
    python -m jaxedit.generate --model=llamagen-c2i-b-256 207
    python -m jaxedit.generate --model=infinity-2b --batch list.jsonl --output generated/
    python -m jaxedit.generate --from_png generated.png
    python -m jaxedit.generate --model=infinity-8b-1024 --dry_run --memory_gb 40

A list has one JSON object per line: {"prompt": ...}, perhaps with "seed" and "output". Each picture
written carries its settings; --from_png makes it again from them. --dry_run prints what would be in
the memory of each device; an official name needs no weights then.
Exit codes: 0 done; 1 a replayed picture came out differently, a dry run does not fit; 2 bad input.
"""

import argparse
from collections.abc import Sequence

from jaxedit import console
from jaxedit.console import exit_code, words
from jaxedit.editor import command_run
from jaxedit.editor.command import MODEL, add_shared, new_parser
from jaxedit.editor.generate_command import EXAMPLES, GenerateCommand


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    return exit_code(lambda: command_run.run(GenerateCommand(make_parser().parse_args(argv))))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    parser = new_parser("python -m jaxedit.generate", "[prompt]", __doc__)
    add = parser.add_argument
    add("prompt", nargs="?", type=words, help="the picture, in words, or the number of a class")
    add("--model", help=f"{MODEL}, such as {EXAMPLES}")
    add_shared(parser, GenerateCommand)
    return parser


def run() -> None:
    """Run the command `jaxedit generate`."""
    console.run(main)


if __name__ == "__main__":
    run()
