"""The arguments of the commands that make pictures; nothing here imports jax."""

import argparse
from collections.abc import Sequence
from typing import Any, get_type_hints

from jaxedit import __version__
from jaxedit.config import FITS, methods_of
from jaxedit.config.comments import comments_of
from jaxedit.config.fields import choices_of
from jaxedit.config.methods import PART_OF, options_by_method
from jaxedit.config.precision import DTYPES, T5_DTYPES
from jaxedit.console import Parser, words

MODEL = "bundled or official name, folder, gs://, org/name of the Hub"
TASKS = ("depth", "canny", "segmentation")


def make_parser(description: str) -> argparse.ArgumentParser:
    """All arguments of `python -m jaxedit`."""
    parser = new_parser("python -m jaxedit", "[photo] [instruction]", description)
    add, methods = parser.add_argument, methods_of("edit")
    add("photo", nargs="?", help="picture to edit, or the map of a --task")
    add(
        "instruction",
        nargs="?",
        type=words,
        help="what to change, in words; with --task a description",
    )
    add("--model", help=f"{MODEL} (default toy-varedit)")
    add("--method", help=f"{', '.join(methods)} (default: the first that fits the weights)")
    add("--task", choices=TASKS, help="make a picture from a map; canny takes a photo's edges")
    add(
        "--fit",
        choices=FITS,
        help="pad: edit the whole picture, on a white square; crop: its middle square "
        "(default: what came with the weights)",
    )
    add(
        "--keep_size",
        action="store_true",
        default=None,
        help="put a cropped square back into its picture; padded ones keep their size anyway",
    )
    add(
        "--diagnostics", metavar="PNG", help="also write ERec's maps, mask and paths as one picture"
    )
    add_shared(
        parser, verb="edit", done="edited", folder="edits", words="instruction", methods=methods
    )
    return parser


def new_parser(command: str, rest: str, description: str) -> argparse.ArgumentParser:
    """A parser without any arguments yet."""
    return Parser(
        prog=command,
        usage=f"{command} [options] {rest}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_shared(
    parser: argparse.ArgumentParser,
    *,
    verb: str,
    done: str,
    folder: str,
    words: str,
    methods: Sequence[str],
) -> None:
    """Add what every command has that makes pictures.

    Args:
      parser: of the command.
      verb: what it does with a picture, for the help: edit.
      done: the same, done: edited.
      folder: where the pictures of a list are written by default.
      words: what a text is called: instruction.
      methods: whose options it takes.
    """
    add = parser.add_argument
    add("--seed", type=int, help="0 to 2**31 - 1 (default 0); row i of a list has seed + i")
    add("--output", help=f"file (default {done}.png), or folder of a list (default {folder})")
    add("--strict", action="store_true", help=f"refuse a {words} too long to be read in full")
    add(
        "--batch",
        metavar="LIST",
        help=f"{verb} every row of a JSONL list that is not done yet; its paths are relative to it",
    )
    add("--overwrite", action="store_true", help=f"{verb} all rows of a list again")
    add("--from_png", metavar="PNG", help=f"make a picture that was {done} again, bit for bit")
    add("--rows_per_device", type=int, default=1, help=f"pictures of a list {done} at once")
    add("--dtype", choices=DTYPES, help="default float32 on a CPU, bfloat16 elsewhere")
    add(
        "--t5_dtype",
        choices=T5_DTYPES,
        help="of the text encoder (default float16, or float32 with --dtype=float32)",
    )
    add("--text_on_host", action="store_true", help="keep the text encoder on the host's CPU")
    add("--text_features", metavar="FILE", help=f"read {words}s' features; add those it lacks")
    add("--dry_run", action="store_true", help=f"tell how much memory it takes, and {verb} nothing")
    add("--memory_gb", type=float, help="of another device than this one, for --dry_run")
    add(
        "--int8",
        type=lambda names: tuple(names.split(",")),
        metavar="NETWORKS",
        help="keep the large kernels of t5, transformer or t5,transformer as 8-bit integers",
    )
    add("--version", action="version", version=f"jaxedit {__version__}")
    for takers, names in options_by_method(methods).items():
        title = f"options of {' and '.join(takers)}" if len(takers) < len(methods) else "sampling"
        group = parser.add_argument_group(title, "default: what came with the weights")
        for name in names:
            _add_option(group, name, PART_OF[name])


def _add_option(group: Any, name: str, part: type) -> None:
    """Add the option of a field of `part`, as its annotation and its comment say."""
    hint, comment = get_type_hints(part)[name], comments_of(part)[name].replace("%", "%%")
    if hint is bool:
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=comment)
    elif choices := choices_of(hint):
        group.add_argument(f"--{name}", choices=choices, help=comment)
    elif hint in (int, float, str):
        group.add_argument(f"--{name}", type=hint, help=comment)
    else:
        group.add_argument(f"--{name}", type=_numbers, metavar="NUMBER[,...]", help=comment)


def _numbers(text: str) -> float | tuple[float, ...]:
    """Return a number, or a tuple of several that commas separate."""
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError as error:
        message = f"{text!r}: expected a number, or one per scale with commas between"
        raise argparse.ArgumentTypeError(message) from error
    return numbers if len(numbers) > 1 else numbers[0]
