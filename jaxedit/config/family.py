"""The fields of a model family's entry. Code is named as "module:attribute", see `load`."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReleasedWeights:
    """The layout of a network in a PyTorch file, and settings that its shapes do not tell."""

    about: str  # the network in words, for messages
    mark: str  # regex of a key that every state dict of this network has, and no other has
    # module with the `KEYMAP` of the network, with `config_of`, a function from (shapes by path,
    # settings in the file) to the config dataclass, and with `settings_of`, a function from a
    # `PretrainedConfig` to the settings that `config_of` takes, if it takes any
    keymap: str
    prefix: str  # path in a pretrained directory before the paths of the key map
    networks: tuple[str, ...]  # networks in a file, by their names in parameter paths
    same: tuple[str, ...] = ()  # sizes that are equal in all networks of the same shapes
    kept: tuple[str, ...] = ()  # settings to take from the file, not from a similar release
    # official names whose weights contain this network, for messages; empty: none
    brought_by: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model."""

    name: str
    # in config.json; families of the same architecture share it, and the first of these families
    # is used where a config is not complete
    model_type: str
    # whether a config of this `model_type` belongs to the family
    is_member: Callable[[Any], bool] = lambda config: True
    parts: tuple[str, ...]  # required parts of `PretrainedConfig`; the network's own sizes first
    networks: tuple[str, ...]  # networks in a pretrained directory
    weights: ReleasedWeights  # the network in PyTorch files
    # raises ConfigError unless the parts of a config fit each other
    check: Callable[[Any], None] = lambda config: None
    # (sizes) -> the parts that a file of weights does not hold
    defaults: Callable[[Any], dict[str, Any]] = lambda sizes: {}
    fit: Literal["pad", "crop"] = "crop"  # how the release makes pictures square
    crop: Literal["varedit", "editar", "llamagen"] = "llamagen"  # see `data.transforms.CROPS`
    half: str = r"(?!bsq/|vq/)"  # regex of parameters with 16 bits on accelerators; `precision`
    init: str = ""  # function from (sizes, key) to new parameters of the transformer
    # edit: reads a picture and a text | draw: reads a text or a class | empty: no model by itself
    purpose: Literal["edit", "draw", ""] = ""
    reads: Literal["text", "class", ""] = ""  # the condition of the picture
    # (config) -> side of the square that the model reads or draws, in pixels and in tokens
    square: Callable[[Any], tuple[int, int]] = lambda config: (0, 0)
    # sampling method -> the parts of `PretrainedConfig` whose fields are its options; the first
    # method is the default
    methods: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    translates: bool = False  # whether maps can be sources, see `data.prompts`
    # class that turns texts into the transformer's input
    condition: str = "jaxedit.editor.text_features:TextFeatures"
    cleaning: str = ""  # function from str to str, applied to each text first
    reads_padding: bool = False  # whether the transformer sees the encoder's output at padding
    pipeline: str = ""  # class behind `Editor` and `Generator`
    # regex of the parameters that the devices of a picture share; they each hold all others
    shared: str = r"(?!bsq/|vq/)"
    memory: str = ""  # function that returns the phases of making a picture, for `--dry_run`
    objective: str = ""  # class that trains the model
    use: str = ""  # command that trains with the weights; {name} stands for their directory
    bundled: str = ""  # name of a small model in the package


def load(place: str) -> Any:
    """Import the object that a field names as "module:attribute"."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
