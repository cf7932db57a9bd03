"""The settings of a model from the settings of its parts, and from a release that it is like."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from jaxedit.checkpoints import hub, pretrained
from jaxedit.config import OFFICIAL, PretrainedConfig, official, require
from jaxedit.config.families import BY_TYPE
from jaxedit.convert.network_checkpoint import TRANSFORMERS, NetworkCheckpoint

# kind -> the official name that brings it
PLACES = {name: f.weights.brought_by for name, f in BY_TYPE.items() if f.weights.brought_by}


class Combined(NamedTuple):
    """All settings of a model, and where those of inference come from."""

    config: PretrainedConfig
    origin: str


def combine(parts: Sequence[NetworkCheckpoint], settings: str = "") -> Combined:
    """The settings of the model that the parts make together.

    Args:
      parts: of an editor, or a single one.
      settings: official name, or name or directory of a model of ours, from which the settings
        come that no shape tells; empty: a release of that file name or, if it is the only one, of
        these shapes.

    Raises:
      ConfigError: the parts make no model, or not the one that is named, or several releases fit.
    """
    kinds = _by_kind(parts)
    editor = next((kind for kind in TRANSFORMERS if kind in kinds), None)
    if editor is None:
        require(
            len(parts) == 1,
            f"{', '.join(kinds)} make no model: expected one of them, or a transformer as well "
            f"({' or '.join(TRANSFORMERS)})",
        )
        (part,) = parts
        require(not settings, f"--settings={settings}: a {part.kind} alone has no such settings")
        return Combined(PretrainedConfig(model_type=part.kind, **{part.kind: part.config}), "")
    config, origin = _like(kinds[editor], settings)
    needed = [kind for kind in pretrained.networks_of(config) if kind in PLACES]
    missing = [kind for kind in needed if kind not in kinds]
    require(
        not missing,
        f"{kinds[editor].where}: an editor also needs "
        + " and ".join(f"a {kind}: --src={PLACES[kind]}" for kind in missing),
    )
    unused = sorted(kinds.keys() - {editor, *needed})
    require(not unused, f"a {config.model_type} model has no {', '.join(unused)}")
    config = dataclasses.replace(config, **{kind: kinds[kind].config for kind in needed})
    config.validate()
    return Combined(config, origin)


def _by_kind(parts: Sequence[NetworkCheckpoint]) -> dict[str, NetworkCheckpoint]:
    kinds: dict[str, NetworkCheckpoint] = {}
    for part in parts:
        other = kinds.setdefault(part.kind, part)
        require(other is part, f"{other.where} and {part.where} both hold {part.kind}")
    return kinds


def _like(part: NetworkCheckpoint, settings: str) -> Combined:
    """A transformer's settings, completed by those of a model of the same shapes."""
    if settings:
        config = _named(settings)
        found = _differences(part, config)
        require(not found, f"--settings={settings} does not fit {part.where}: {', '.join(found)}")
        return Combined(_with(config, part), settings)
    if part.model:
        return Combined(part.model, str(part.where))
    fitting = {n: r for n, r in OFFICIAL.items() if not _differences(part, r.config)}
    named = [n for n, r in fitting.items() if r.sources[0] == part.source]
    names = named or list(fitting)
    require(
        len(names) < 2,
        f"{part.where}: no shape tells the schedule and the sampling; expected "
        f"--settings={' or '.join(names)}",
    )
    if names:
        return Combined(_with(official(names[0]).config, part), names[0])
    return Combined(_default(part), "defaults: no official release has these shapes")


def _named(settings: str) -> PretrainedConfig:
    if settings in OFFICIAL:
        return official(settings).config
    return pretrained.read_config(hub.resolve(settings))


def _differences(part: NetworkCheckpoint, config: PretrainedConfig) -> list[str]:
    """In which sizes a transformer differs from the one of a config."""
    other = getattr(config, part.kind)
    if other is None or config.model_type != part.kind:
        return [f"it is of type {config.model_type}, expected {part.kind}"]
    names = BY_TYPE[part.kind].weights.same
    return [
        f"{name}={getattr(other, name)}, but {getattr(part.config, name)} in the file"
        for name in names
        if getattr(other, name) != getattr(part.config, name)
    ]


def _with(config: PretrainedConfig, part: NetworkCheckpoint) -> PretrainedConfig:
    """A config with the settings that the file itself tells, whatever release it is like."""
    kept = {name: getattr(part.config, name) for name in BY_TYPE[part.kind].weights.kept}
    sizes = dataclasses.replace(getattr(config, part.kind), **kept)
    return dataclasses.replace(config, **{part.kind: sizes})


def _default(part: NetworkCheckpoint) -> PretrainedConfig:
    defaults = BY_TYPE[part.kind].defaults(part.config)
    return PretrainedConfig(model_type=part.kind, **{part.kind: part.config}, **defaults)
