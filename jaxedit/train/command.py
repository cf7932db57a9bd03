"""The command line of training: flags, config file and settings, with one-line errors."""

import ast
import functools
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_origin

from absl import flags
from ml_collections import config_flags

from jaxedit import config_file
from jaxedit.config import ConfigError, TrainConfig, require
from jaxedit.config_file import ConfigFile
from jaxedit.train.help_pages import FLAGS, take_config
from jaxedit.train.settings import annotated_hints, check_names


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
        raise ConfigError(f"unknown argument {argument!r}: settings start with --config.")
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
    rest, argument = take_config(argv)
    file = config_file.load(argument) if argument else None
    check_names(rest[1:], list(FLAGS), file.config if file else TrainConfig())
    known = ", ".join(f"configs/{path.name}" for path in config_file.installed())
    require(bool(file), f"--config is missing: expected --config=FILE.py, for example {known}")
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
