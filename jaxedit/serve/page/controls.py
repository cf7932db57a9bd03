"""The page's controls for settings, made from the fields of the API."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from jaxedit.config import PretrainedConfig, as_options, family_of, settings_of
from jaxedit.config.methods import PART_OF, method_of, options_of
from jaxedit.serve.fields import OPTIONS, Field

SHOWN = ("guidance", "temperature")  # in view; other settings are behind "More settings"
_DEFAULT = "default"


def option_controls(names: Sequence[str]) -> dict[str, Component]:
    """Return a control for each option; left as it is, it means the default."""
    return {name: _control(name, OPTIONS[name]) for name in names}


def more_options(configs: Sequence[PretrainedConfig]) -> list[str]:
    """Return the options behind "More settings" that a method of these models takes."""
    methods = {method for config in configs for method in family_of(config).methods}
    taken = {name for method in methods for name in options_of(method)}
    translates = any(family_of(config).translates for config in configs)
    return [
        name
        for name in OPTIONS
        if name not in ("method", *SHOWN)
        and (name not in PART_OF or name in taken)
        and (name != "task" or translates)
    ]


def updates_of(
    config: PretrainedConfig, method: str | None, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return what a method changes about each control: whether it is seen, and its default."""
    defaults = as_options(settings_of(config, method, {}))
    taken = options_of(method_of(config, method))
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = {"visible": name not in PART_OF or name in taken}
        if name in defaults and _is_text(OPTIONS[name]):
            found[name]["placeholder"] = f"{_DEFAULT} {_text(defaults[name])}"
    return found


def read_options(texts: dict[str, Any]) -> dict[str, Any]:
    """Return the values of controls that were changed.

    Raises:
      APIError: a text has no value; the message names it.
    """
    given = {name: str(text).strip() for name, text in texts.items() if text not in (None, "")}
    return {name: OPTIONS[name].read(name, text) for name, text in given.items()}


def _is_text(field: Field) -> bool:
    return "enum" not in field.schema and field.schema["type"] != "boolean"


def _control(name: str, field: Field) -> Component:
    label, info = name.replace("_", " ").capitalize(), field.schema["description"]
    if _is_text(field):
        return gr.Textbox(label=label, info=info, placeholder=_DEFAULT, max_lines=1, elem_id=name)
    choices = field.schema.get("enum", ["true", "false"])
    return gr.Dropdown(
        [(_DEFAULT, ""), *choices], value="", label=label, info=info, filterable=False, elem_id=name
    )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
