"""The model families: one entry each, with everything that differs from family to family.

A new family is a model, a pipeline, an objective, a key map, and an entry here. Code elsewhere
asks `family_of(config)` and never compares names of families.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jaxedit.config.checks import require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model. Code is named as "module:attribute" and loaded by `load` when needed.

    Attributes:
      name: of the family.
      model_type: of config.json. Families of one architecture share it.
      is_member: whether a config of this `model_type` belongs to the family.
      parts: of `PretrainedConfig` that a config must have, the network's own sizes first.
      networks: of a pretrained directory.
      purpose: "edit" (reads a picture and a text), "draw" (reads a text or a class), or "" for a
        network alone.
      reads: what it is told what to make by: "text", "class", or "".
      methods: name of each sampling method, the default first, to the parts of `PretrainedConfig`
        whose fields are its options.
      use: a command that trains with the weights, with {name} for their directory.
      bundled: name of a small model that comes with the package.
      condition: the class that turns texts into what the transformer reads.
      cleaning: what is done to each text first: a function from str to str.
      reads_padding: whether the transformer also sees the text encoder's output at padding.
      translates: whether the transformer also makes pictures from maps, see `data.prompts`.
      pipeline: the class behind `Editor` and `Generator`.
      memory: returns the phases of the task, for `--dry_run`.
    """

    name: str
    model_type: str
    is_member: Callable[[Any], bool] = lambda config: True
    parts: tuple[str, ...]
    networks: tuple[str, ...]
    purpose: Literal["edit", "draw", ""] = ""
    reads: Literal["text", "class", ""] = ""
    methods: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    bundled: str = ""
    use: str = ""
    condition: str = "jaxedit.editor.text_features:TextFeatures"
    cleaning: str = ""
    reads_padding: bool = False
    translates: bool = False
    pipeline: str = ""
    memory: str = ""


def load(place: str) -> Any:
    """Import what a field of a `Family` names as "module:attribute"."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


_NEXT_SCALE = {
    "model_type": "varedit",
    "parts": ("varedit", "bsq", "t5", "sample"),
    "networks": ("bsq", "transformer", "t5"),
    "reads": "text",
    "pipeline": "jaxedit.editor.pipeline_varedit:VAREditPipeline",
    "memory": "jaxedit.editor.memory_varedit:phases",
}
_NEXT_TOKEN = {
    "model_type": "editar",
    "parts": ("editar", "vq", "t5", "token_sample", "erec"),
    "networks": ("vq", "transformer", "null", "t5"),
    "reads": "text",
    "pipeline": "jaxedit.editor.pipeline_editar:EditARPipeline",
    "memory": "jaxedit.editor.memory_editar:phases",
}


def _trained(use: str) -> str:
    """Return the command that trains with weights: `use` is the config file and a setting."""
    return f"python -m jaxedit.train --workdir=run --config=configs/{use}={{name}}"


def _alone(name: str, use: str = "") -> Family:
    """Return the family of a network that is a model by itself."""
    use = use and _trained(use)
    return Family(name=name, model_type=name, parts=(name,), networks=(name,), use=use)


FAMILIES = (
    Family(
        **_NEXT_SCALE,
        name="varedit",
        is_member=lambda config: config.varedit.conditioning != "none",
        purpose="edit",
        methods={"varedit": ("sample",)},
        bundled="toy-varedit",
    ),
    Family(
        **_NEXT_SCALE,
        name="infinity",
        is_member=lambda config: config.varedit.conditioning == "none",
        purpose="draw",
        methods={"infinity": ("sample",)},
        use=_trained("var_sar.py:2b --config.init_from"),
    ),
    Family(
        **_NEXT_TOKEN,
        name="editar",
        reads_padding=True,
        is_member=lambda config: config.editar.prefix == "edit",
        purpose="edit",
        methods={"editar": ("token_sample",), "editar+erec": ("token_sample", "erec")},
        bundled="toy-editar",
        translates=True,
    ),
    Family(
        **_NEXT_TOKEN | {"pipeline": "jaxedit.editor.pipeline_llamagen:LlamaGenPipeline"},
        name="llamagen",
        cleaning="jaxedit.data.caption_cleaning:clean_caption",
        is_member=lambda config: config.editar.prefix == "text",
        purpose="draw",
        methods={"llamagen": ("token_sample",)},
        use=_trained("editar.py:xl --config.init_from"),
    ),
    Family(
        **_NEXT_TOKEN
        | {
            "networks": ("vq", "transformer"),
            "reads": "class",
            "pipeline": "jaxedit.editor.pipeline_llamagen:LlamaGenPipeline",
            "condition": "jaxedit.editor.class_labels:ClassLabels",
        },
        name="llamagen-class",
        is_member=lambda config: config.editar.prefix == "class",
        purpose="draw",
        methods={"llamagen": ("token_sample",)},
    ),
    _alone("bsq", "var_sar.py:2b --config.varedit.tokenizer"),
    _alone("vq", "editar.py:xl --config.editar.tokenizer"),
    _alone("t5", "var_sar.py:2b --config.varedit.text_encoder"),
    _alone("vit", "editar.py:xl --config.editar.teacher"),
    _alone("clip"),
)
MODEL_TYPES = tuple(dict.fromkeys(family.model_type for family in FAMILIES))
# model_type -> the parts that its config must have
PARTS = {family.model_type: family.parts for family in FAMILIES}
# method -> the parts of PretrainedConfig whose fields are its options
OPTIONS = {method: parts for family in FAMILIES for method, parts in family.methods.items()}


def family_of(config: Any) -> Family:
    """Return the family of a valid `PretrainedConfig`."""
    found = (f for f in FAMILIES if f.model_type == config.model_type and f.is_member(config))
    return next(found)


def sizes_of(config: Any) -> Any:
    """Return the sizes of the network that a config is named after: its transformer's, mostly."""
    return getattr(config, family_of(config).parts[0])


def require_purpose(config: Any, purpose: str) -> None:
    """Raise ConfigError unless the family of a config is for a purpose, "edit" or "draw"."""
    family = family_of(config)
    known = ", ".join(other.name for other in FAMILIES if other.purpose == purpose)
    nouns = {"edit": "an editor", "draw": "a model that draws"}
    require(
        bool(family.purpose),
        f"model_type={config.model_type!r}: expected {nouns[purpose]}, one of {known}",
    )
    advice = {
        "edit": "edits pictures: jaxedit.Editor, or python -m jaxedit PHOTO INSTRUCTION",
        "draw": f"draws a picture from a {family.reads}: jaxedit.Generator, or "
        "python -m jaxedit.generate",
    }
    require(family.purpose == purpose, f"a model of type {family.name} {advice[family.purpose]}")


def methods_of(purpose: str) -> list[str]:
    """Return the sampling methods of all families for a purpose."""
    found = [method for f in FAMILIES if f.purpose == purpose for method in f.methods]
    return list(dict.fromkeys(found))


def bundled(method: str | None, *, has_task: bool) -> str:
    """Return the bundled editor of a method, or of all tasks; the first one for neither."""
    editors = [family for family in FAMILIES if family.bundled]
    fitting = [
        family
        for family in editors
        if (method is None or method in family.methods) and (family.translates or not has_task)
    ]
    return (fitting or editors)[0].bundled
