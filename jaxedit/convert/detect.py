"""Which network a state dict holds, told by its keys, and of which size, told by its shapes."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxedit.config.families import BY_TYPE
from jaxedit.config.family import ReleasedWeights, load
from jaxedit.convert import sizes
from jaxedit.convert.keymaps.key_rules import KeyMap
from jaxedit.convert.keymaps.keymap import assemble


class Kind(NamedTuple):
    """What jaxedit knows about one kind of state dict; see `ReleasedWeights`.

    Attributes:
      about: in words.
      mark: regex of a key that every state dict of this kind has, and no other.
      keymap: of its keys.
      prefix: what comes before the key map's paths in a pretrained directory.
      settings: (shapes by path, the file's own settings) to the config dataclass.
    """

    about: str
    mark: str
    keymap: KeyMap
    prefix: str
    settings: Callable[[sizes.Shapes, Mapping[str, Any]], Any]


def _kind(weights: ReleasedWeights) -> Kind:
    keymap, read = load(weights.keymap), load(weights.read)
    return Kind(weights.about, weights.mark, keymap, weights.prefix, read)


# name, which is also that of the part of `PretrainedConfig`
KINDS = {name: _kind(family.weights) for name, family in BY_TYPE.items()}


class Found(NamedTuple):
    """What a state dict holds: a name of `KINDS`, and the network's config dataclass."""

    kind: str
    settings: Any


def detect(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any] | None = None
) -> Found:
    """Tell what a state dict holds. Nothing is guessed: see `sizes` for what shapes do not tell.

    Args:
      shapes: PyTorch key to shape.
      settings: of the file: Hugging Face's config.json, or the arguments of the run; may be empty.

    Returns:
      The kind and its validated settings.

    Raises:
      ValueError: no network that jaxedit knows, or several; keys that do not belong to it; or a
        size that nothing tells. One line.
    """
    names = [name for name, kind in KINDS.items() if _has(kind.mark, shapes)]
    if not names:
        first = sorted({key.split(".")[0][:40] for key in shapes})[:8]
        raise ValueError(
            f"not a checkpoint that jaxedit knows: keys begin with {', '.join(first) or 'nothing'}"
        )
    if len(names) > 1:
        raise ValueError(f"several networks at once, {', '.join(names)}: expected one")
    kind = KINDS[names[0]]
    try:
        found = kind.settings(_param_shapes(kind.keymap, shapes), settings or {})
        found.validate()
    except ValueError as error:
        raise ValueError(f"looks like {kind.about}, but: {error}") from error
    return Found(names[0], found)


def prefix_of(keys: Collection[str], kind: str = "auto") -> str:
    """What comes before the keys of the only network that a state dict holds under some prefix.

    Args:
      keys: of the state dict.
      kind: of the network, where there are others beside it.

    Returns:
      The prefix, with its dot; "" if the keys of a network have none, or no network is known.

    Raises:
      ValueError: several networks; lists them.
    """
    places = [
        (name, match[1])
        for name, known in KINDS.items()
        for key in keys
        if (match := re.fullmatch(rf"((?:.*\.)?)(?:{known.mark})", key))
    ]
    found = [place for place in dict.fromkeys(places) if kind in ("auto", place[0])]
    if not found or any(prefix == "" for _, prefix in found):
        return ""
    if len(found) > 1:
        listed = ", ".join(f"{name} under {ascii(prefix[:60])[1:-1]}" for name, prefix in found)
        raise ValueError(f"several networks at once: {listed}; expected one, or --kind of one")
    return found[0][1]


def _has(mark: str, keys: Iterable[str]) -> bool:
    return any(re.fullmatch(mark, key) for key in keys)


def _param_shapes(keymap: KeyMap, shapes: Mapping[str, tuple[int, ...]]) -> sizes.Shapes:
    blank = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    found = {path: array.shape for path, array in assemble(keymap, blank).items()}
    empty = [path for path, shape in found.items() if 0 in shape]
    if empty:
        raise ValueError(f"{empty[0]} is empty")
    return sizes.Shapes(found)
