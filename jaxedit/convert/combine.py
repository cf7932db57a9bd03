"""The config of a model, from the configs of its parts and from a release of the same sizes."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from jaxedit.checkpoints import hub, pretrained
from jaxedit.config import OFFICIAL, PretrainedConfig, family_of, official, require
from jaxedit.config.families import BY_TYPE
from jaxedit.convert.network_checkpoint import TRANSFORMERS, NetworkCheckpoint

# kind -> official names that bring a network of this kind
PLACES = {name: f.weights.brought_by for name, f in BY_TYPE.items() if f.weights.brought_by}


class Combined(NamedTuple):
    """The config of a model, and the origin of its settings of inference."""

    config: PretrainedConfig
    origin: str


def combine(parts: Sequence[NetworkCheckpoint], settings: str = "") -> Combined:
    """Return the config of the model that the parts make together.

    Args:
      parts: of an editor, or a single network.
      settings: official name, or pretrained directory, from which settings come that shapes do not
        tell; empty: the release with this file name or, if it is the only one, with these sizes.

    Raises:
      ConfigError: the parts make no model, do not fit `settings`, or fit several releases.
    """
    kinds = _by_kind(parts)
    editor = next((kind for kind in TRANSFORMERS if kind in kinds), None)
    if editor is None:
        require(
            len(parts) == 1,
            f"{', '.join(kinds)} make no model: expected a single network, or a transformer too "
            f"({' or '.join(TRANSFORMERS)})",
        )
        (part,) = parts
        require(not settings, f"--settings={settings}: a {part.kind} alone has no such settings")
        return Combined(PretrainedConfig(model_type=part.kind, **{part.kind: part.config}), "")
    config, origin = _like(kinds[editor], settings)
    needed = [kind for kind in family_of(config).networks if kind in PLACES]
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
    """Return the parts by kind; ConfigError if two have the same kind."""
    kinds: dict[str, NetworkCheckpoint] = {}
    for part in parts:
        other = kinds.setdefault(part.kind, part)
        require(other is part, f"{other.where} and {part.where} both hold {part.kind}")
    return kinds


def _like(part: NetworkCheckpoint, settings: str) -> Combined:
    """Return a transformer's config, completed by a model of the same sizes."""
    if settings:
        if settings in OFFICIAL:
            config = official(settings).config
        else:
            config = pretrained.read_config(hub.resolve(settings))
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
    defaults = BY_TYPE[part.kind].defaults(part.config)
    config = PretrainedConfig(model_type=part.kind, **{part.kind: part.config}, **defaults)
    return Combined(config, "defaults: no official release has these shapes")


def _differences(part: NetworkCheckpoint, config: PretrainedConfig) -> list[str]:
    """List the sizes in which a transformer differs from a config."""
    other = getattr(config, part.kind)
    if other is None or config.model_type != part.kind:
        return [f"it is of type {config.model_type}, expected {part.kind}"]
    return [
        f"{name}={getattr(other, name)}, but {getattr(part.config, name)} in the file"
        for name in BY_TYPE[part.kind].weights.same
        if getattr(other, name) != getattr(part.config, name)
    ]


def _with(config: PretrainedConfig, part: NetworkCheckpoint) -> PretrainedConfig:
    """Return a config with the settings that always come from the file."""
    kept = {name: getattr(part.config, name) for name in BY_TYPE[part.kind].weights.kept}
    sizes = dataclasses.replace(getattr(config, part.kind), **kept)
    return dataclasses.replace(config, **{part.kind: sizes})
