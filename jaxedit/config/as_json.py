"""Conversion of settings to JSON and back; unknown and missing keys are errors."""

import dataclasses
import json
from typing import Any, get_args, get_origin, get_type_hints

from jaxedit.config.checks import require
from jaxedit.config.fields import choices_of
from jaxedit.config.sampling import RuleConfig


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config dataclass as nested dicts, lists and scalars, ready for JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(cls: type, values: dict[str, Any], name: str = "config") -> Any:
    """Rebuild the dataclass `cls` from `to_dict`'s form.

    Three kinds of fields may be missing: fields that are None or "" by default (parts that a model
    does not have, and settings that follow from other settings); sampling rules, which are then
    off; and fields marked as `later`, which older releases did not write: they get their default.

    Raises:
      ConfigError: a key is unknown or missing; the message lists all of them.
    """
    require(isinstance(values, dict), f"{name}: expected an object, found {values!r}")
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)
    absent = {f.name for f in fields if f.default in (None, "") or f.metadata.get("later")}
    if issubclass(cls, RuleConfig):
        rules = (rule for rule in cls.__mro__[1:] if dataclasses.is_dataclass(rule))
        absent |= {field.name for rule in rules for field in dataclasses.fields(rule)}
    unknown = sorted(values.keys() - hints.keys())
    missing = sorted(hints.keys() - values.keys() - absent)
    require(
        not unknown and not missing,
        f"{name} does not match {cls.__name__}: unknown keys {unknown}, missing keys {missing}",
    )
    return cls(**{k: _value(hints[k], v, f"{name}.{k}") for k, v in values.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    kinds = [t for t in get_args(hint) if dataclasses.is_dataclass(t)] or [hint]
    if value is not None and dataclasses.is_dataclass(kinds[0]):
        return from_dict(kinds[0], value, name)
    if isinstance(value, list):
        return tuple(_value(None, v, name) for v in value)
    if choices_of(hint):
        return value  # `validate` checks the choice
    allowed = get_args(hint) if get_origin(hint) is not tuple and get_args(hint) else (hint,)
    if value is None or isinstance(value, str | bool):
        ok = hint is None or type(value) in allowed
        require(ok, f"{name}={value!r}: expected {hint}")
    return value
