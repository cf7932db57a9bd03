"""The methods of each model, and the settings of each method."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxedit.config.checks import ConfigError, require
from jaxedit.config.families import OPTIONS, family_of, methods_of
from jaxedit.config.models import PretrainedConfig
from jaxedit.config.sampling import ERecConfig, SampleConfig, ScaleERecConfig, TokenSampleConfig

PARTS = {
    "sample": SampleConfig,
    "token_sample": TokenSampleConfig,
    "erec": ERecConfig,
    "scale_erec": ScaleERecConfig,
}
# option -> the first dataclass that has it
PART_OF = {
    field.name: part for part in reversed(PARTS.values()) for field in dataclasses.fields(part)
}


def options_of(method: str) -> list[str]:
    """Return the names of the options that a method takes."""
    return [field.name for part in OPTIONS[method] for field in dataclasses.fields(PARTS[part])]


def options_by_method(methods: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the options of these methods, grouped by the methods that take them.

    Options of many methods come first.
    """
    taken = {method: options_of(method) for method in methods}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in PART_OF:
        takers = tuple(method for method, options in taken.items() if name in options)
        if takers:
            groups.setdefault(takers, []).append(name)
    return dict(sorted(groups.items(), key=lambda group: -len(group[0])))


def method_of(config: PretrainedConfig, method: str | None) -> str:
    """Return the method to use; for None, the default of the model's family.

    Raises:
      ConfigError: the model does not have the method, or has no methods.
    """
    methods = tuple(family_of(config).methods)
    require(bool(methods), f"model_type={config.model_type!r}: expected a model with methods")
    require(
        method is None or method in methods,
        f"method={method!r}: expected one of {', '.join(methods)} for {config.model_type} weights",
    )
    return method or methods[0]


def settings_of(
    config: PretrainedConfig, method: str | None, options: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Return the settings of a method: the settings stored with the weights, changed by `options`.

    Args:
      method: None for the model's default.
      options: fields of the method's settings; None keeps the value stored with the weights.

    Returns:
      (SampleConfig,), (TokenSampleConfig,), or one of these and an ERecConfig, checked.

    Raises:
      ConfigError: no such method or option, or a value is out of its range.
    """
    method = method_of(config, method)
    # Weights that were stored before the method existed have no settings of it.
    defaults = [getattr(config, part) or PARTS[part]() for part in OPTIONS[method]]
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in options_of(method):
            others = methods_of(family_of(config).purpose)
            raise ConfigError(f"{name}={value!r}: {_misplaced(name, method, others)}")
    settings = tuple(
        dataclasses.replace(part, **{name: given[name] for name in given.keys() & vars(part)})
        for part in defaults
    )
    for name, part in zip(OPTIONS[method], settings, strict=True):
        part.validate(*config.limits_of(name))
    mode = getattr(settings[0], "guidance_mode", "text")
    require(
        mode == "text" or family_of(config).purpose == "edit",
        f"sample.guidance_mode={mode!r}: expected 'text', for a model without a source picture",
    )
    return settings


def _misplaced(name: str, method: str, methods: Sequence[str]) -> str:
    """Say why a method does not take an option that another of `methods` may take."""
    others = [other for other in methods if name in options_of(other)]
    if others:
        return f"an option of method {' or '.join(others)}, found {method}"
    known = options_of(method)
    near = difflib.get_close_matches(name, known, 1)
    known = f"did you mean {near[0]}?" if near else f"expected {', '.join(sorted(known))}"
    return f"no option of method {method}; {known}"


def as_options(settings: tuple[Any, ...]) -> dict[str, Any]:
    """Return the settings as a dict from option names to JSON values."""
    options: dict[str, Any] = {}
    for part in settings:
        options |= dataclasses.asdict(part)
    return options
