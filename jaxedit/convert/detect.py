"""Which network a state dict holds, told by its keys, and of which size, told by its shapes."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxedit.convert import sizes
from jaxedit.convert.keymaps import (
    keymap_bsq,
    keymap_clip,
    keymap_editar,
    keymap_t5,
    keymap_varedit,
    keymap_vit,
    keymap_vq,
)
from jaxedit.convert.keymaps.key_rules import KeyMap
from jaxedit.convert.keymaps.keymap import assemble


class Kind(NamedTuple):
    """What jaxedit knows about one kind of state dict.

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


# name, which is also that of the part of `PretrainedConfig`
KINDS: dict[str, Kind] = {
    "varedit": Kind(
        "a transformer of VAREdit or Infinity",
        r"(blocks|block_chunks\.\d+\.module)\.\d+\.sa\.scale_mul_1H11",
        keymap_varedit.KEYMAP,
        "transformer/",
        sizes.varedit,
    ),
    "editar": Kind(
        "a transformer of LlamaGen or EditAR",
        r"tok_embeddings\.weight",
        keymap_editar.KEYMAP,
        "",  # transformer/ and null/ are in the paths
        sizes.editar,
    ),
    "bsq": Kind(
        "an image tokenizer of Infinity",
        r"encoder\.down\.0\.block\.0\.conv1(\.conv)?\.weight",
        keymap_bsq.KEYMAP,
        "bsq/",
        sizes.bsq,
    ),
    "vq": Kind(
        "an image tokenizer of LlamaGen",
        r"encoder\.conv_blocks\.0\.res\.0\.conv1\.weight",
        keymap_vq.KEYMAP,
        "vq/",
        sizes.vq,
    ),
    "t5": Kind(
        "a T5 text encoder",
        r"encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight",
        keymap_t5.KEYMAP,
        "t5/",
        sizes.t5,
    ),
    "vit": Kind(
        "a vision transformer of DINO or DINOv2",
        r"(embeddings\.patch_embeddings\.projection|patch_embed\.proj)\.weight",
        keymap_vit.KEYMAP,
        "vit/",
        sizes.vit,
    ),
    "clip": Kind(
        "CLIP",
        r"vision_model\.embeddings\.patch_embedding\.weight",
        keymap_clip.KEYMAP,
        "clip/",
        sizes.clip,
    ),
}


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
