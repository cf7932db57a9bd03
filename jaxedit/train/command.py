"""The command line of training: flags, config file and overrides, with one-line errors."""

import ast
import dataclasses
import difflib
import functools
import importlib.util
import pathlib
import re
import textwrap
import types
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args, get_type_hints

from absl import flags
from ml_collections import config_flags

from jaxedit import configs
from jaxedit.config import ConfigError, TrainConfig, require

INSTALLED = pathlib.Path(configs.__file__).parent
FLAGS = {
    "config": "FILE.py:PRESET; change any of its settings with --config.NAME=VALUE",
    "workdir": "directory of this run, local or gs://...",
    "dry_run": "tell how much memory each device needs, and train nothing; needs no --workdir",
    "devices": "of --dry_run: compile a step for devices that are not here: v5p-128, 8xH100, ...",
    "memory_gb": "memory of a device for --dry_run, if it is not one of these",
    "profile_steps": "first,last: profile these steps, from 1 at the start, into WORKDIR/profile",
    "distributed": "join the processes of a multi-host run: auto (if there are any), on, off",
}


class Command(NamedTuple):
    """A parsed command line."""

    config: TrainConfig  # validated
    workdir: str
    distributed: str  # auto | on | off
    overrides: dict[str, Any]  # settings given as --config.x.y=value
    dry_run: bool
    devices: str  # of a dry run; empty: those that are here
    memory_gb: float | None
    profile_steps: tuple[int, int] | None  # first and last, from 1 at the start of the process


def parse(argv: Sequence[str]) -> Command:
    """Read the command line.

    Args:
      argv: the program's name and its arguments.

    Returns:
      The parsed command.

    Raises:
      ConfigError: one line that names the wrong argument and what was expected.
    """
    argv, file = _take_config(argv)
    require(bool(file), "--config is missing, e.g. --config=configs/var_sar.py:tiny")
    config = _load(file)
    argv, loose = _split_loose(argv)
    _check_names(argv)
    values = _define()
    holder = config_flags.DEFINE_config_dataclass(
        "config", config, flag_values=values, sys_argv=list(argv)
    )
    try:
        left = values(argv)[1:]
    except flags.Error as error:
        raise ConfigError(str(error)) from error
    for argument in left:
        raise ConfigError(f"unknown argument {argument!r}: settings start with --config.")
    require(
        values.dry_run or bool(values.workdir), "--workdir is missing: the directory of this run"
    )
    require(values.dry_run or not values.devices, "--devices: expected --dry_run with it")
    config = holder.value
    for name, value in loose.items():
        parent = functools.reduce(getattr, name.split(".")[:-1], config)
        setattr(parent, name.rsplit(".", 1)[-1], value)
    config.validate()
    overrides = config_flags.get_override_values(values["config"]) | loose
    return Command(
        *(config, values.workdir or "", values.distributed, overrides),
        dry_run=values.dry_run,
        devices=values.devices,
        memory_gb=values.memory_gb,
        profile_steps=_profile_steps(values.profile_steps),
    )


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether --help is among the arguments."""
    return bool({"--help", "-help", "-h"} & set(argv))


def help_text() -> str:
    """All flags, then the beginning of every installed config: its commands and presets."""
    lines = ["Flags:", *(f"  --{name:<12} {text}" for name, text in FLAGS.items()), "\nConfigs:"]
    for file in _installed():
        doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        lines += [f"  {file.name}", textwrap.indent(doc, "    "), ""]
    return "\n".join(lines)


def _define() -> flags.FlagValues:
    """The flags, on their own and not in absl's global table, so that `parse` is a function."""
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
    """The numbers of "first,last"; None of nothing."""
    if not text:
        return None
    match = re.fullmatch(r"(\d+),(\d+)", text)
    steps = (int(match[1]), int(match[2])) if match else (0, 0)
    require(
        0 < steps[0] <= steps[1],
        f"--profile_steps={text}: expected a first and a last step, for example 10,15",
    )
    return steps


def _installed() -> list[pathlib.Path]:
    return sorted(INSTALLED.glob("[a-z]*.py"))


def _take_config(argv: Sequence[str]) -> tuple[list[str], str]:
    """All arguments but --config=FILE (or --config FILE), and FILE; the last one counts."""
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


def _load(file: str) -> TrainConfig:
    """The config of FILE.py:PRESET; the file lies here or among the installed configs."""
    path, _, preset = file.partition(":")
    places = [p for p in (pathlib.Path(path), INSTALLED / pathlib.Path(path).name) if p.is_file()]
    known = ", ".join(p.name for p in _installed())
    require(bool(places), f"--config={path}: no such file; installed configs: {known}")
    spec = importlib.util.spec_from_file_location("jaxedit_config", places[0])
    require(spec is not None, f"--config={path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"--config={path}: line {error.lineno}: {error.msg}") from error
    require(hasattr(module, "get_config"), f"--config={path}: expected a function get_config")
    config = module.get_config(preset) if preset else module.get_config()
    require(isinstance(config, TrainConfig), f"--config={path}: expected a TrainConfig")
    return config


def _settings(cls: type = TrainConfig, prefix: str = "") -> dict[str, Any]:
    """Type by dotted name of all settings of a config dataclass."""
    found = {}
    for name, hint in get_type_hints(cls).items():
        parts = [t for t in (hint, *get_args(hint)) if dataclasses.is_dataclass(t)]
        found |= _settings(parts[0], f"{prefix}{name}.") if parts else {prefix + name: hint}
    return found


def _split_loose(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Take out the settings of several types ("a number or a tuple"), which absl cannot parse."""
    hints = _settings()
    rest, loose = [], {}
    for argument in argv:
        match = re.fullmatch(r"--config\.([^=]+)=(.*)", argument)
        hint = hints.get(match[1]) if match else None
        if not isinstance(hint, types.UnionType):
            rest.append(argument)
            continue
        try:
            loose[match[1]] = ast.literal_eval(match[2])
        except (SyntaxError, ValueError) as error:
            raise ConfigError(f"{argument}: expected {hint}") from error
    return rest, loose


def _check_names(argv: Sequence[str]) -> None:
    """Raise ConfigError for a setting that does not exist, with the nearest one that does."""
    known = list(_settings())
    by_last_part = {name.rsplit(".", 1)[-1]: name for name in reversed(known)}
    for argument in argv:
        match = re.match(r"--(?:no)?config\.([^=]+)", argument)
        if not match or match[1] in known:
            continue
        last = match[1].rsplit(".", 1)[-1]
        near = difflib.get_close_matches(match[1], known, 1, 0.75)
        near += [by_last_part[n] for n in difflib.get_close_matches(last, by_last_part, 1)]
        hint = f"; did you mean --config.{near[0]}?" if near else ""
        raise ConfigError(f"--config.{match[1]}: no such setting{hint}")
