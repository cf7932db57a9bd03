"""The command line of training: flags, config file and overrides, with one-line errors."""

import ast
import dataclasses
import difflib
import pathlib
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args, get_type_hints

from absl import flags
from ml_collections import config_flags

from jaxedit import configs
from jaxedit.config import ConfigError, TrainConfig, require

OVERRIDE = re.compile(r"--(?:no)?config\.([^=]+)")
INSTALLED = pathlib.Path(configs.__file__).parent


class Command(NamedTuple):
    """A parsed command line."""

    config: TrainConfig  # validated
    workdir: str
    distributed: str  # auto | on | off
    overrides: dict[str, Any]  # settings given as --config.x.y=value
    help: str  # the text for --help, empty if it was not asked for


def parse(argv: Sequence[str], doc: str) -> Command:
    """Read the command line.

    Args:
      argv: the program's name and its arguments.
      doc: what the command does, the beginning of its help.

    Returns:
      The parsed command.

    Raises:
      ConfigError: one line that names the wrong argument and what was expected.
    """
    argv = [_found(argument) for argument in _joined(argv)]
    values = flags.FlagValues()
    flags.DEFINE_string(
        "workdir", None, "Directory of this run, local or gs://...", flag_values=values
    )
    flags.DEFINE_enum(
        *("distributed", "auto", ["auto", "on", "off"]),
        "Join the other processes of a multi-host run (auto: if there are any).",
        flag_values=values,
    )
    flags.DEFINE_boolean("help", False, "Show this text.", short_name="h", flag_values=values)
    config_flags.DEFINE_config_file(
        *("config", None, "The run: FILE.py:PRESET. Change a setting with --config.NAME=VALUE."),
        flag_values=values,
        sys_argv=argv,
    )
    if {"--help", "-h", "-help"} & set(argv):
        return Command(TrainConfig(), "", "off", {}, doc + "\n" + _help(values))
    _check_names(argv)
    try:
        left = values(argv)[1:]
    except flags.Error as error:
        raise ConfigError(_last_line(str(error))) from error
    require(
        not left, f"unknown argument {left[0] if left else ''!r}: settings start with --config."
    )
    require(values["config"].present, "--config is missing, e.g. --config=configs/var_sar.py:tiny")
    require(bool(values.workdir), "--workdir is missing: the directory of this run")
    config = values.config
    require(isinstance(config, TrainConfig), "--config: get_config() must return a TrainConfig")
    config.validate()
    overrides = config_flags.get_override_values(values["config"])
    return Command(config, values.workdir, values.distributed, overrides, "")


def _help(values: flags.FlagValues) -> str:
    """The flags, then the first line and the presets of every installed config."""
    lines = ["Flags:"]
    for name in ("config", "workdir", "distributed"):
        lines.append(f"  --{name:<12} {values[name].help}")
    lines.append("\nConfigs:")
    for file in sorted(INSTALLED.glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(file.read_text())) or ""
        lines += [f"  {file.name}", textwrap.indent(doc, "    ")]
    return "\n".join(lines)


def _joined(argv: Sequence[str]) -> list[str]:
    """`--config FILE` as `--config=FILE`."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in ("--config", "-config"):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined


def _found(argument: str) -> str:
    """--config=FILE with the file where it is: here, or among the installed configs."""
    match = re.fullmatch(r"--?config=([^:]*)(:.*)?", argument)
    if not match:
        return argument
    path, preset = pathlib.Path(match[1]), match[2] or ""
    for place in (path, INSTALLED / path.name):
        if place.is_file():
            return f"--config={place}{preset}"
    known = ", ".join(sorted(file.name for file in INSTALLED.glob("[a-z]*.py")))
    raise ConfigError(f"--config={match[1]}: no such file; installed configs: {known}")


def _settings(cls: type, prefix: str = "") -> list[str]:
    """Dotted names of all settings of a config dataclass."""
    names = []
    for name, hint in get_type_hints(cls).items():
        parts = [t for t in (hint, *get_args(hint)) if dataclasses.is_dataclass(t)]
        names += _settings(parts[0], f"{prefix}{name}.") if parts else [prefix + name]
    return names


def _check_names(argv: Sequence[str]) -> None:
    known = _settings(TrainConfig)
    for argument in argv:
        match = OVERRIDE.match(argument)
        if match and match[1] not in known:
            last = {name.rsplit(".", 1)[-1]: name for name in reversed(known)}
            near = difflib.get_close_matches(match[1], known, 1, 0.75) or [
                last[n] for n in difflib.get_close_matches(match[1].rsplit(".", 1)[-1], last, 1)
            ]
            hint = f"; did you mean --config.{near[0]}?" if near else ""
            raise ConfigError(f"--config.{match[1]}: no such setting{hint}")


def _last_line(message: str) -> str:
    """The cause at the end of a message that contains a traceback."""
    lines = [line for line in message.splitlines() if line.strip()]
    return re.sub(r"^jaxedit\.config\.ConfigError: ", "", lines[-1])
