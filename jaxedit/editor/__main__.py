"""Edit pictures from the command line.

    python -m jaxedit photo.jpg "make the ball blue" --seed 1 --output edited.png
    python -m jaxedit photo.jpg "remove the ball" --method editar+erec --diagnostics panel.png
    python -m jaxedit photo.jpg "make the ball blue" --mask region.png
    python -m jaxedit depth.png "a red ball at night" --task depth
    python -m jaxedit --batch list.jsonl --output edits/
    python -m jaxedit --from_png edited.png
    python -m jaxedit --model varedit-8b-512 --dry_run --memory_gb 16

A list has one JSON object per line: {"image": ..., "instruction": ...}, perhaps with "mask", "seed"
and "output". Outside a mask the edit has the photo's own pixels, bit for bit. Each picture written
carries its settings; --from_png makes it again from them.
--dry_run prints what would be in the memory of each device; an official name needs no weights then.
Exit codes: 0 done; 1 a replayed picture came out differently, a dry run does not fit; 2 bad input.
"""

import argparse
from collections.abc import Sequence

from jaxedit import console
from jaxedit.commands import COMMANDS
from jaxedit.config import FITS, methods_of
from jaxedit.console import exit_code, words
from jaxedit.editor import command_run
from jaxedit.editor.command import MODEL, add_shared, new_parser
from jaxedit.editor.edit_command import EditCommand

TASKS = ("depth", "canny", "segmentation")


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    return exit_code(lambda: command_run.run(EditCommand(make_parser().parse_args(argv))))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    parser = new_parser("python -m jaxedit", "[photo] [instruction]", __doc__)
    parser.epilog = f"other commands: jaxedit {{{','.join(COMMANDS)}}} --help"
    add, methods = parser.add_argument, methods_of("edit")
    add("photo", nargs="?", help="picture to edit, or the map of a --task")
    add(
        "instruction",
        nargs="?",
        type=words,
        help="the change, in words; with --task a description of the picture",
    )
    add("--model", help=f"{MODEL} (default toy-varedit)")
    add("--method", help=f"{', '.join(methods)} (default: the first that fits the weights)")
    add("--task", choices=TASKS, help="make a picture from a map; for canny, from a photo's edges")
    add(
        "--fit",
        choices=FITS,
        help="pad: edit the whole picture, on a white square; crop: its middle square "
        "(default: what is stored with the weights)",
    )
    add(
        "--keep_size",
        action="store_true",
        default=None,
        help="paste a cropped square back into its picture; padded pictures always keep their size",
    )
    add(
        "--mask",
        metavar="FILE",
        help="edit only where this picture is white or, if it has transparent pixels, transparent",
    )
    add(
        "--feather",
        type=int,
        metavar="PIXELS",
        help="width of the seam inside a mask, 0 = none (default: 4 for each 512 of the long side)",
    )
    add("--diagnostics", metavar="PNG", help="also write ERec's maps, mask and paths as a picture")
    add_shared(parser, EditCommand)
    return parser


def run() -> None:
    """Run the command `jaxedit edit`."""
    console.run(main)


if __name__ == "__main__":
    run()
