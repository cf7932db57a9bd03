"""The fields of a model family's entry. Code is named as "module:attribute", see `load`."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReleasedWeights:
    """The layout of a network in a PyTorch file, and settings that its shapes do not tell.

    Attributes:
      about: in words.
      mark: regex of a key that every state dict of this kind has, and no other.
      keymap: its `KeyMap`.
      prefix: what comes before the key map's paths in a pretrained directory.
      networks: that a file holds, by their names in parameter paths.
      read: (shapes by path, the file's own settings) to the config dataclass.
      tell: a `PretrainedConfig` to the file's own settings, as `read` takes them.
      same: the sizes in which two networks of the same shapes agree.
      kept: settings that come from the file, whatever release it is like.
      brought_by: the official names that bring it, for messages; empty: it is no part of another.
    """

    about: str
    mark: str
    keymap: str
    prefix: str
    networks: tuple[str, ...]
    read: str
    tell: str = ""
    same: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    brought_by: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model.

    Attributes:
      name: of the family.
      model_type: of config.json. Families of one architecture share it, and the first one of them
        stands for all where a config is not complete.
      is_member: whether a config of this `model_type` belongs to the family.
      parts: of `PretrainedConfig` that a config must have, the network's own sizes first.
      networks: of a pretrained directory.
      weights: of the network in PyTorch files.
      check: (config) raises ConfigError unless its parts fit each other.
      defaults: (sizes) to the parts that no file of weights tells.
      fit: how pictures become squares, as released.
      crop: the release's rule by which they are cropped, see `data.transforms`.
      half: regex of the parameters that are 16 bits wide on an accelerator, see `precision`.
      init: (sizes, key) to fresh parameters of the transformer.
      purpose: "edit" (reads a picture and a text), "draw" (reads a text or a class), or "" for a
        network alone.
      reads: what it is told what to make by: "text", "class", or "".
      methods: name of each sampling method, the default first, to the parts of `PretrainedConfig`
        whose fields are its options.
      translates: whether the transformer also makes pictures from maps, see `data.prompts`.
      condition: the class that turns texts into what the transformer reads.
      cleaning: what is done to each text first: a function from str to str.
      reads_padding: whether the transformer also sees the text encoder's output at padding.
      pipeline: the class behind `Editor` and `Generator`.
      memory: returns the phases of making a picture, for `--dry_run`.
      objective: the class that trains it.
      use: a command that trains with the weights, with {name} for their directory.
      bundled: name of a small model that comes with the package.
    """

    name: str
    model_type: str
    is_member: Callable[[Any], bool] = lambda config: True
    parts: tuple[str, ...]
    networks: tuple[str, ...]
    weights: ReleasedWeights
    check: Callable[[Any], None] = lambda config: None
    defaults: Callable[[Any], dict[str, Any]] = lambda sizes: {}
    fit: Literal["pad", "crop"] = "crop"
    crop: Literal["varedit", "editar", "llamagen"] = "llamagen"
    half: str = r"(?!bsq/|vq/)"
    init: str = ""
    purpose: Literal["edit", "draw", ""] = ""
    reads: Literal["text", "class", ""] = ""
    methods: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    translates: bool = False
    condition: str = "jaxedit.editor.text_features:TextFeatures"
    cleaning: str = ""
    reads_padding: bool = False
    pipeline: str = ""
    memory: str = ""
    objective: str = ""
    use: str = ""
    bundled: str = ""


def load(place: str) -> Any:
    """Import what a field of a `Family` names as "module:attribute"."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
