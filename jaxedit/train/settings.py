"""The settings of a run on the command line: names, types, defaults and comments.

Everything comes from the dataclasses in `jaxedit.config`; nothing here imports jax.
"""

import dataclasses
import difflib
import re
import shlex
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from jaxedit.config import ConfigError, TrainConfig
from jaxedit.config.comments import comments_of
from jaxedit.config.fields import choices_of, hints_of

_UNIONS = (Union, types.UnionType)
INDENT, WIDTH = 46, 100  # where comments begin and end
_SHOWN = 3  # nearest names in a message
_LISTED = "--help-settings lists all"


class Setting(NamedTuple):
    """A setting that --config.NAME=VALUE changes."""

    name: str  # with dots: optim.learning_rate
    hint: Any  # its type
    default: Any
    comment: str
    is_there: bool  # False: it belongs to a part that this run's model does not have
    is_annotated: bool  # has choices, a range or several types


def settings_of(config: TrainConfig) -> dict[str, Setting]:
    """Return all settings by name, with the values that they have in `config`."""
    return {setting.name: setting for setting in _walk(type(config), config, "")}


def _walk(cls: type, values: Any, prefix: str) -> Iterator[Setting]:
    comments, defaults = comments_of(cls), cls() if values is None else values
    for name, hint in get_type_hints(cls).items():
        part = next((t for t in (hint, *get_args(hint)) if dataclasses.is_dataclass(t)), None)
        if part is None:
            value = getattr(defaults, name)
            is_annotated = get_origin(hints_of(cls)[name]) in (Annotated, Literal, *_UNIONS)
            comment, is_there = comments[name], values is not None
            yield Setting(prefix + name, hint, value, comment, is_there, is_annotated)
        else:
            yield from _walk(part, values and getattr(values, name), f"{prefix}{name}.")


def listing(config: TrainConfig, title: str = "") -> str:
    """Return a page with all settings of a run, part by part, with their values.

    `title` is FILE.py:PRESET of the run; without it, all parts of all models are listed.
    """
    here = f"of --config={title}" if title else "as they are without --config"
    lines = [f"Settings {here}: change them with --config.NAME=VALUE"]
    parts: dict[str, list[str]] = {"": []}  # the run's own first
    for setting in settings_of(config).values():
        if setting.is_there or not title:
            parts.setdefault(setting.name.rpartition(".")[0], []).extend(_entry(setting))
    for part in sorted(parts, key=lambda part: part.startswith("model")):  # sizes last
        lines += ["", *([f"{part}: {_about(part)}"] if part else []), *parts[part]]
    return "\n".join(lines)


def _about(part: str) -> str:
    """Return the first line of the docstring of a part's dataclass."""
    cls = TrainConfig
    for name in part.split("."):
        hint = get_type_hints(cls)[name]
        cls = next(t for t in (hint, *get_args(hint)) if dataclasses.is_dataclass(t))
    return cls.__doc__.splitlines()[0]


def _entry(setting: Setting) -> list[str]:
    """Return a setting as lines: the option, its type, its comment."""
    value = str(setting.default)
    value = f'"{value}"' if "'" in value else value and shlex.quote(value)
    kind = setting.hint.__name__ if type(setting.hint) is type else str(setting.hint)
    if choices := choices_of(setting.hint):
        kind = " | ".join(choice or "nothing" for choice in choices)
    head = f"  --config.{setting.name}={value}"
    words = textwrap.wrap(f"{kind}; {setting.comment}", WIDTH - INDENT)
    if len(head) < INDENT:
        return [head.ljust(INDENT) + words[0], *(" " * INDENT + line for line in words[1:])]
    return [head, *(" " * INDENT + line for line in words)]


def check_names(argv: Sequence[str], flags: Sequence[str], config: TrainConfig) -> None:
    """Check that every argument (without the program's name) is a flag or a setting of the run.

    Raises:
      ConfigError: an argument is neither, or belongs to another kind of model; the message names
        the nearest existing names.
    """
    settings = settings_of(config)
    known = [name for name, setting in settings.items() if setting.is_there]
    for argument in argv:
        match = re.fullmatch(r"(--?)?((?:no)?config\.)?([\w.-]+)(=.*)?", argument, re.S)
        dashes, start, name, value = match.groups("") if match else ("", "", argument, "")
        if start and dashes:
            if name not in settings:
                near = _similar(name, known)
                hint = _question(near) if near else _LISTED
                raise ConfigError(f"{argument}: no such setting; {hint}")
            if not settings[name].is_there:
                part, kind = name.split(".")[1], config.model.model_type
                raise ConfigError(f"{argument}: a model of type {kind} has no {part}")
        elif not dashes and not value and not start:
            continue  # perhaps the value of a flag
        elif name.removeprefix("no") not in flags and name not in flags:
            raise ConfigError(f"{argument}: {_advice(name, value, known, flags)}")


def _advice(name: str, value: str, known: Sequence[str], flags: Sequence[str]) -> str:
    """Return what to do about a flag that does not exist: the nearest names."""
    near = difflib.get_close_matches(name, flags, 1)
    if near and name not in {_last(setting) for setting in known}:
        return f"no such flag; did you mean --{near[0]}?"
    if settings := _similar(name, known):
        return f"settings start with --config.: {_question(settings, value)}"
    return f"no such flag; settings start with --config.; {_LISTED}"


def _question(names: Sequence[str], value: str = "") -> str:
    """Return the question whether one of these settings was meant."""
    *others, last = [f"--config.{name}{value}" for name in names]
    return f"did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"


def _similar(name: str, known: Sequence[str]) -> list[str]:
    """Return the settings with this last part or, if there are none, of similar names."""
    last = _last(name)
    if same := [full for full in known if _last(full) == last]:
        return same[:_SHOWN]
    found = difflib.get_close_matches(name, known, _SHOWN, 0.75)
    parts = difflib.get_close_matches(last, {_last(full): None for full in known}, _SHOWN)
    found += [full for part in parts for full in known if _last(full) == part]
    return list(dict.fromkeys(found))[:_SHOWN]


def _last(name: str) -> str:
    return name.rpartition(".")[-1]


def annotated_hints() -> dict[str, Any]:
    """Return the types, without ranges, of the settings with choices, ranges or several types."""
    return {
        setting.name: setting.hint
        for setting in settings_of(TrainConfig()).values()
        if setting.is_annotated
    }
