"""The command line of training: flags, config file and settings, with one-line errors."""

import ast
import functools
import re
import textwrap
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_origin

from absl import flags
from ml_collections import config_flags

from jaxedit import config_file
from jaxedit.config import ConfigError, TrainConfig, require
from jaxedit.config_file import ConfigFile
from jaxedit.train.settings import UnknownName, annotated_hints, check_names, listing

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


class Command(NamedTuple):
    """A parsed command line."""

    config: TrainConfig  # validated
    workdir: str
    notes: list[str]  # lines for the user about defaults that were taken
    distributed: str  # auto | on | off
    overrides: dict[str, Any]  # settings given as --config.x.y=value
    dry_run: bool
    devices: str  # of a dry run; empty: the devices of this machine
    memory_gb: float | None
    profile_steps: tuple[int, int] | None  # first and last; 1 is the first step of this process


def parse(argv: Sequence[str]) -> Command:
    """Parse the program's name and its arguments.

    Raises:
      ConfigError: the message names the wrong argument and what was expected.
    """
    argv, file = _read_config(argv)
    argv, annotated = _split_annotated(argv)
    values = _define()
    holder = config_flags.DEFINE_config_dataclass(
        "config", file.config, flag_values=values, sys_argv=list(argv)
    )
    try:
        left = values(argv)[1:]
    except flags.Error as error:
        raise ConfigError(str(error)) from error
    for argument in left:
        raise UnknownName(f"unknown argument {argument!r}: settings start with --config.")
    require(values.dry_run or not values.devices, "--devices: expected --dry_run with it")
    config = holder.value
    for name, value in annotated.items():
        parent = functools.reduce(getattr, name.split(".")[:-1], config)
        setattr(parent, name.rsplit(".", 1)[-1], value)
    config.validate()
    overrides = config_flags.get_override_values(values["config"]) | annotated
    return Command(
        config=config,
        workdir=values.workdir or f"runs/{file.name}",
        notes=_notes(file, values),
        distributed=values.distributed,
        overrides=overrides,
        dry_run=values.dry_run,
        devices=values.devices,
        memory_gb=values.memory_gb,
        profile_steps=_profile_steps(values.profile_steps),
    )


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
    _, argument = _take_config(argv)
    if not argument:
        return listing(TrainConfig())
    file = config_file.load(argument)
    return listing(file.config, file.title)


def _define() -> flags.FlagValues:
    """Define the flags in a table of their own, not absl's global one: `parse` has no state."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, FLAGS["workdir"], flag_values=values)
    flags.DEFINE_bool("dry_run", False, FLAGS["dry_run"], flag_values=values)
    flags.DEFINE_string("devices", "", FLAGS["devices"], flag_values=values)
    flags.DEFINE_float("memory_gb", None, FLAGS["memory_gb"], flag_values=values)
    flags.DEFINE_string("profile_steps", "", FLAGS["profile_steps"], flag_values=values)
    choices = ["auto", "on", "off"]
    flags.DEFINE_enum("distributed", "auto", choices, FLAGS["distributed"], flag_values=values)
    return values


def _profile_steps(text: str) -> tuple[int, int] | None:
    """Return the numbers of "first,last"; None of an empty text."""
    if not text:
        return None
    match = re.fullmatch(r"(\d+),(\d+)", text)
    steps = (int(match[1]), int(match[2])) if match else (0, 0)
    require(
        0 < steps[0] <= steps[1],
        f"--profile_steps={text}: expected a first and a last step, for example 10,15",
    )
    return steps


def _notes(file: ConfigFile, values: flags.FlagValues) -> list[str]:
    """Return lines about the defaults that were taken, and how to choose others."""
    notes = []
    if file.preset and not file.is_chosen:
        note = f"preset {file.preset}, as none was given"
        if file.others:
            note += f"; the others: {', '.join(file.others)}"
            note += f" (--config={file.path}:{file.others[0]})"
        notes.append(note)
    if not values.workdir and not values.dry_run:
        notes.append(
            f"run in runs/{file.name}, as no --workdir was given; the same command resumes it"
        )
    return notes


def _read_config(argv: Sequence[str]) -> tuple[list[str], ConfigFile]:
    """Return all arguments but --config=FILE, with checked names, and the config file."""
    rest, argument = _take_config(argv)
    file = config_file.load(argument) if argument else None
    check_names(rest[1:], list(FLAGS), file.config if file else TrainConfig())
    known = ", ".join(f"configs/{path.name}" for path in config_file.installed())
    require(bool(file), f"--config is missing: expected --config=FILE.py, for example {known}")
    return rest, file


def _take_config(argv: Sequence[str]) -> tuple[list[str], str]:
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


def _split_annotated(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Split off the settings with choices, ranges or several types, which absl cannot parse.

    `TrainConfig.validate` checks their values later.
    """
    hints = annotated_hints()
    rest, found = [], {}
    arguments = iter(argv)
    for argument in arguments:
        match = re.fullmatch(r"--?config\.([^=]+?)(=(.*))?", argument, re.S)
        hint = hints.get(match[1]) if match else None
        if hint is None:
            rest.append(argument)
            continue
        text = match[3] if match[2] else next(arguments, None)
        require(text is not None, f"{argument}: expected a value")
        try:
            found[match[1]] = _value_of(text, hint)
        except (SyntaxError, ValueError) as error:
            reason = error if hint in (int, float) else f"expected {hint}"
            raise ConfigError(f"--config.{match[1]}={text}: {reason}") from error
    return rest, found


def _value_of(text: str, hint: Any) -> Any:
    """Read a value of a type, or of any of several types."""
    if get_origin(hint) is Literal:
        return text
    return hint(text) if hint in (int, float) else ast.literal_eval(text)
