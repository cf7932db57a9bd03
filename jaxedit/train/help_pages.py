"""The help pages of training: flags, configs and settings.

They need none of the packages that parse a command line, which are slow to import.
"""

import ast
import textwrap
from collections.abc import Sequence

from jaxedit import config_file
from jaxedit.config import TrainConfig
from jaxedit.train.settings import listing

FLAGS = {
    "config": "FILE.py:PRESET; change any of its settings with --config.NAME=VALUE",
    "workdir": "directory of this run, local or gs://...; default runs/FILE-PRESET",
    "dry_run": "print the memory that each device needs, and train nothing",
    "devices": "with --dry_run: compile a step for devices that are not here: v5p-128, 8xH100, ...",
    "memory_gb": "with --dry_run: memory of a device, if it is not a device of this machine",
    "profile_steps": "first,last: profile these steps of this process into WORKDIR/profile",
    "distributed": "join the processes of a multi-host run: auto (if there are any), on, off",
    "help": "this page",
    "help-settings": "list every setting of --config=FILE.py:PRESET, its value and meaning",
}


def asks_for_help(argv: Sequence[str]) -> str:
    """Return the page that the arguments ask for: "--help", "--help-settings" or ""."""
    if {"--help-settings", "--help_settings"} & set(argv):
        return "--help-settings"
    return "--help" if {"--help", "-help", "-h"} & set(argv) else ""


def help_text() -> str:
    """Return all flags, then the docstring of every installed config: commands and presets."""
    lines = ["Flags:", *(f"  --{name:<13} {text}" for name, text in FLAGS.items()), "\nConfigs:"]
    for file in config_file.installed():
        doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        lines += [f"  {file.name}", textwrap.indent(doc, "    "), ""]
    return "\n".join(lines)


def help_settings(argv: Sequence[str]) -> str:
    """Return all settings of the command line's config, or the defaults if it names none.

    Raises:
      ConfigError: there is no such config.
    """
    _, argument = take_config(argv)
    if not argument:
        return listing(TrainConfig())
    file = config_file.load(argument)
    return listing(file.config, file.title)


def take_config(argv: Sequence[str]) -> tuple[list[str], str]:
    """Return all arguments but --config=FILE (or --config FILE), and the last FILE."""
    rest, file = [], ""
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--config":
            file = next(arguments, "")
        elif argument.startswith("--config="):
            file = argument.removeprefix("--config=")
        else:
            rest.append(argument)
    return rest, file
