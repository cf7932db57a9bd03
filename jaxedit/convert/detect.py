"""The kind of network that a state dict holds, by its keys, and its config, by its shapes."""

import importlib
import re
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from jaxedit.config.families import BY_TYPE
from jaxedit.convert.keymaps.key_rules import KeyMap
from jaxedit.convert.keymaps.keymap import assemble
from jaxedit.convert.sizes import Shapes

# kind of network, which is also the name of its part of `PretrainedConfig`
KINDS = {name: family.weights for name, family in BY_TYPE.items()}


class Found(NamedTuple):
    """The kind of a network, see `KINDS`, and its config dataclass."""

    kind: str
    config: Any


def keymap_module(kind: str) -> ModuleType:
    """Return the module with the key map of a kind, see `ReleasedWeights`."""
    return importlib.import_module(KINDS[kind].keymap)


def detect(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any] | None = None
) -> Found:
    """Return the kind and the validated config of the network in a state dict. Nothing is guessed.

    Args:
      shapes: by PyTorch key.
      settings: of the file: Hugging Face's config.json, or the arguments of the run.

    Raises:
      ValueError: no known network, or several; keys that do not belong to it; or a size that
        neither shapes nor settings tell. One line.
    """
    kinds = [
        name
        for name, weights in KINDS.items()
        if any(re.fullmatch(weights.mark, key) for key in shapes)
    ]
    if not kinds:
        first = sorted({key.split(".")[0][:40] for key in shapes})[:8]
        raise ValueError(
            f"not a checkpoint that jaxedit knows: keys begin with {', '.join(first) or 'nothing'}"
        )
    if len(kinds) > 1:
        raise ValueError(f"several networks at once, {', '.join(kinds)}: expected one")
    (kind,) = kinds
    module = keymap_module(kind)
    try:
        config = module.config_of(_param_shapes(module.KEYMAP, shapes), settings or {})
        config.validate()
    except ValueError as error:
        raise ValueError(f"looks like {KINDS[kind].about}, but: {error}") from error
    return Found(kind, config)


def prefix_of(keys: Collection[str], kind: str = "auto") -> str:
    """Return the prefix, with its dot, of the keys of the only network of a state dict.

    Args:
      kind: of the network, where there are others beside it.

    Returns:
      The prefix; "" if the network's keys have none, or no network is known.

    Raises:
      ValueError: several networks; lists them.
    """
    places = [
        (name, match[1])
        for name, weights in KINDS.items()
        for key in keys
        if (match := re.fullmatch(rf"((?:.*\.)?)(?:{weights.mark})", key))
    ]
    found = [place for place in dict.fromkeys(places) if kind in ("auto", place[0])]
    if not found or any(prefix == "" for _, prefix in found):
        return ""
    if len(found) > 1:
        listed = ", ".join(f"{name} under {ascii(prefix[:60])[1:-1]}" for name, prefix in found)
        raise ValueError(f"several networks at once: {listed}; expected one, or --kind of one")
    return found[0][1]


def _param_shapes(keymap: KeyMap, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Return the shapes of the parameters that arrays of these shapes become."""
    blank = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    found = {path: array.shape for path, array in assemble(keymap, blank).items()}
    empty = [path for path, shape in found.items() if 0 in shape]
    if empty:
        raise ValueError(f"{empty[0]} is empty")
    return Shapes(found)
