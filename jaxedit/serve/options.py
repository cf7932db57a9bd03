"""The arguments of `python -m jaxedit.serve`."""

import argparse
import dataclasses
from typing import NamedTuple

from jaxedit.config import ServeConfig, require_int8
from jaxedit.editor.command import MODEL, add_option, add_weights, new_parser
from jaxedit.editor.edit_command import EditCommand

PROGRAM = "python -m jaxedit.serve"


class Options(NamedTuple):
    """Arguments of `server.serve`."""

    config: ServeConfig
    names: tuple[str, ...]
    placement: dict[str, object]


def parse(argv: list[str], description: str) -> Options:
    """Return the options in a command line.

    Raises:
      ConfigError: a value is out of its range.
    """
    args = _make_parser(description).parse_args(argv)
    names = [field.name for field in dataclasses.fields(ServeConfig)]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    config = ServeConfig(**given)
    config.validate()
    require_int8(args.int8 or ())
    models = tuple(args.model or ["toy-varedit"])
    mesh = {"mesh": args.mesh} if args.mesh else {}
    return Options(config, models, EditCommand(args).placement() | mesh)


def _make_parser(description: str) -> argparse.ArgumentParser:
    parser = new_parser(PROGRAM, "", description)
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help=f"{MODEL} (default toy-varedit); again for each further model",
    )
    for field in dataclasses.fields(ServeConfig):
        action = add_option(parser, field.name, ServeConfig)
        action.help += f" (default {field.default})" if field.default not in ("", False) else ""
    add_weights(parser, EditCommand)
    return parser
