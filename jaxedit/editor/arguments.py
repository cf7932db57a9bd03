"""The arguments of the commands that make pictures; nothing here imports jax."""

import argparse
from typing import Any, get_type_hints

from jaxedit import __version__
from jaxedit.config import methods_of
from jaxedit.config.comments import comments_of
from jaxedit.config.fields import choices_of
from jaxedit.config.methods import PART_OF, options_by_method
from jaxedit.config.precision import DTYPES, T5_DTYPES
from jaxedit.console import Parser
from jaxedit.editor.command import Command

MODEL = "bundled or official name, folder, gs://, org/name of the Hub"


def new_parser(program: str, positional: str, description: str) -> argparse.ArgumentParser:
    """Return a parser without arguments; `positional` is a part of its usage line."""
    return Parser(
        prog=program,
        usage=f"{program} [options] {positional}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_shared(parser: argparse.ArgumentParser, command: type[Command]) -> None:
    """Add the arguments that all commands have, and the options of their sampling methods."""
    add, verb, done, text = parser.add_argument, command.purpose, command.done, [*command.keys][-1]
    add("--seed", type=int, help="0 to 2**31 - 1 (default 0); row i of a list has seed + i")
    add(
        "--output",
        help=f"file (default {done}.png), or folder of a list (default {command.folder})",
    )
    add("--strict", action="store_true", help=f"refuse {text}s too long to be read in full")
    add(
        "--batch",
        metavar="LIST",
        help=f"{verb} every row of a JSONL list that is not done yet; paths are relative to it",
    )
    add("--overwrite", action="store_true", help=f"{verb} all rows of a list again")
    add("--from_png", metavar="PNG", help="make an earlier picture again, bit for bit")
    add("--rows_per_device", type=int, default=1, help=f"pictures of a list to {verb} at once")
    add("--dtype", choices=DTYPES, help="default float32 on a CPU, bfloat16 elsewhere")
    add(
        "--t5_dtype",
        choices=T5_DTYPES,
        help="of the text encoder (default float16, or float32 with --dtype=float32)",
    )
    add("--text_on_host", action="store_true", help="keep the text encoder on the host's CPU")
    add(
        "--text_features",
        metavar="FILE",
        help=f"read the features of {text}s from a file; add those that are missing",
    )
    add("--dry_run", action="store_true", help=f"print how much memory it takes; {verb} nothing")
    add("--memory_gb", type=float, help="for --dry_run: memory of a device; default: of this one")
    add(
        "--int8",
        type=lambda names: tuple(names.split(",")),
        metavar="NETWORKS",
        help="keep the large kernels of t5, transformer or t5,transformer as 8-bit integers",
    )
    add("--version", action="version", version=f"jaxedit {__version__}")
    methods = methods_of(command.purpose)
    for takers, names in options_by_method(methods).items():
        title = f"options of {' and '.join(takers)}" if len(takers) < len(methods) else "sampling"
        group = parser.add_argument_group(title, "default: what is stored with the weights")
        for name in names:
            _add_option(group, name, PART_OF[name])


def _add_option(group: Any, name: str, part: type) -> None:
    """Add the option of a field of `part`: type and help are its annotation and its comment."""
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
