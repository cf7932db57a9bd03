"""The model families: an entry for each, with everything that differs between families.

A new family is a model, a pipeline, an objective, a key map, and an entry here. Code elsewhere
asks `family_of(config)`; it compares neither model types nor names of families.
"""

from typing import Any

from jaxedit.config.checks import require
from jaxedit.config.family import Family, ReleasedWeights
from jaxedit.config.sampling import ERecConfig, SampleConfig, TokenSampleConfig

_KEYMAPS = "jaxedit.convert.keymaps"


def _trained(use: str) -> str:
    """Return the command that trains with weights; `use`: a config file and the setting to use."""
    return f"python -m jaxedit.train --workdir=run --config=configs/{use}={{name}}"


def _prefix(config: Any) -> str | None:
    return config.editar.prefix if config.editar else None


def _conditioning(config: Any) -> str | None:
    return config.varedit.conditioning if config.varedit else None


def _check_next_scale(config: Any) -> None:
    """Raise ConfigError unless transformer, tokenizer and text encoder fit each other."""
    c = config.varedit
    require(
        c.bits == config.bsq.bits,
        f"varedit.bits={c.bits} but the tokenizer has bsq.bits={config.bsq.bits}",
    )
    require(
        c.text_width == config.t5.width,
        f"varedit.text_width={c.text_width} but t5.width={config.t5.width}",
    )


def _check_next_token(config: Any) -> None:
    """Raise ConfigError unless transformer and tokenizer fit each other."""
    c = config.editar
    require(
        c.codes == config.vq.codes,
        f"editar.codes={c.codes} but the tokenizer has vq.codes={config.vq.codes}",
    )


def _check_next_token_and_text(config: Any) -> None:
    """Raise ConfigError unless transformer, tokenizer and text encoder fit each other."""
    _check_next_token(config)
    c = config.editar
    require(
        c.text_width == config.t5.width,
        f"editar.text_width={c.text_width} but t5.width={config.t5.width}",
    )


def _token_defaults(sizes: Any) -> dict[str, Any]:
    top_k = min(TokenSampleConfig.top_k, sizes.codes)
    return {"token_sample": TokenSampleConfig(top_k=top_k), "erec": ERecConfig()}


def _scale_square(config: Any) -> tuple[int, int]:
    c = config.varedit
    return c.latent_scales[-1][0] * config.bsq.stride, c.scales[-1][0]


def _token_square(config: Any) -> tuple[int, int]:
    grid = config.editar.grid
    return grid * config.vq.stride, grid


_NEXT_SCALE = {
    "model_type": "varedit",
    "parts": ("varedit", "bsq", "t5", "sample"),
    "networks": ("bsq", "transformer", "t5"),
    "weights": ReleasedWeights(
        about="a transformer of VAREdit or Infinity",
        mark=r"(blocks|block_chunks\.\d+\.module)\.\d+\.sa\.scale_mul_1H11",
        keymap=f"{_KEYMAPS}.keymap_varedit",
        prefix="transformer/",
        networks=("transformer",),
        same=("depth", "width", "heads", "mlp_hidden", "token_bits", "text_width")
        + ("text_pool_heads", "max_text_tokens", "levels"),
    ),
    "check": _check_next_scale,
    "defaults": lambda sizes: {"sample": SampleConfig()},
    "fit": "pad",
    "crop": "varedit",
    "half": r"transformer/(?:first_block|blocks)/",
    "init": "jaxedit.models.varedit:init_params",
    "reads": "text",
    "square": _scale_square,
    "pipeline": "jaxedit.editor.pipeline_varedit:VAREditPipeline",
    "memory": "jaxedit.editor.memory_phases:varedit_phases",
    "objective": "jaxedit.train.objectives.varedit:VAREditObjective",
}
_NEXT_TOKEN = {
    "model_type": "editar",
    "parts": ("editar", "vq", "t5", "token_sample", "erec"),
    "networks": ("vq", "transformer", "null", "t5"),
    "weights": ReleasedWeights(
        about="a transformer of LlamaGen or EditAR",
        mark=r"tok_embeddings\.weight",
        keymap=f"{_KEYMAPS}.keymap_editar",
        prefix="",  # transformer/ and null/ are in the paths
        networks=("transformer", "null"),
        same=("layers", "width", "mlp_hidden", "codes", "prefix", "classes", "text_width")
        + ("text_tokens", "edited_grid"),  # not the heads, which no shape shows
        kept=("distill_width",),
    ),
    "check": _check_next_token_and_text,
    "defaults": _token_defaults,
    "half": r"transformer/",
    "init": "jaxedit.models.editar:init_params",
    "reads": "text",
    "square": _token_square,
    "pipeline": "jaxedit.editor.pipeline_editar:EditARPipeline",
    "shared": r"(?:t5|transformer/blocks)/",  # tables are read in each step
    "memory": "jaxedit.editor.memory_phases:editar_phases",
    "objective": "jaxedit.train.objectives.editar:EditARObjective",
}


# Scores depend on every digit of a network.
_EXACT = r"(?!)"


def _alone(name: str, about: str, mark: str, *, brought_by: str = "", **fields: Any) -> Family:
    """Return the family of a network that is a model by itself.

    Args:
      name: of the network, in parameter paths too, and of its key map.
      about, mark, brought_by: see `ReleasedWeights`.
      **fields: further fields of `Family`.
    """
    weights = ReleasedWeights(
        about=about,
        mark=mark,
        keymap=f"{_KEYMAPS}.keymap_{name}",
        prefix=f"{name}/",
        networks=(name,),
        brought_by=brought_by,
    )
    return Family(
        name=name, model_type=name, parts=(name,), networks=(name,), weights=weights, **fields
    )


FAMILIES = (
    Family(
        **_NEXT_SCALE,
        name="varedit",
        is_member=lambda config: _conditioning(config) != "none",
        purpose="edit",
        methods={"varedit": ("sample",), "varedit+erec": ("sample", "scale_erec")},
        bundled="toy-varedit",
    ),
    Family(
        **_NEXT_SCALE,
        name="infinity",
        is_member=lambda config: _conditioning(config) == "none",
        purpose="draw",
        methods={"infinity": ("sample",)},
        use=_trained("var_sar.py:2b --config.init_from"),
    ),
    Family(
        **_NEXT_TOKEN,
        name="editar",
        is_member=lambda config: _prefix(config) == "edit",
        purpose="edit",
        crop="editar",
        methods={"editar": ("token_sample",), "editar+erec": ("token_sample", "erec")},
        translates=True,
        reads_padding=True,
        bundled="toy-editar",
    ),
    Family(
        **_NEXT_TOKEN,
        name="llamagen",
        is_member=lambda config: _prefix(config) == "text",
        purpose="draw",
        methods={"llamagen": ("token_sample",)},
        cleaning="jaxedit.data.caption_cleaning:clean_caption",
        use=_trained("editar.py:xl --config.init_from"),
    ),
    Family(
        **_NEXT_TOKEN
        | {
            "parts": ("editar", "vq", "token_sample", "erec"),
            "networks": ("vq", "transformer"),
            "check": _check_next_token,
            "reads": "class",
        },
        name="llamagen-class",
        is_member=lambda config: _prefix(config) == "class",
        purpose="draw",
        methods={"llamagen": ("token_sample",)},
        condition="jaxedit.editor.text_features:ClassLabels",
    ),
    _alone(
        "bsq",
        "an image tokenizer of Infinity",
        r"encoder\.down\.0\.block\.0\.conv1(\.conv)?\.weight",
        brought_by="infinity-vae-d32 (2B) or infinity-vae-d56 (8B)",
        crop="varedit",
        objective="jaxedit.train.objectives.bsq:BSQObjective",
        use=_trained("var_sar.py:2b --config.varedit.tokenizer"),
    ),
    _alone(
        "vq",
        "an image tokenizer of LlamaGen",
        r"encoder\.conv_blocks\.0\.res\.0\.conv1\.weight",
        brought_by="llamagen-vq16-t2i or llamagen-vq16-c2i",
        objective="jaxedit.train.objectives.vq:VQObjective",
        use=_trained("editar.py:xl --config.editar.tokenizer"),
    ),
    _alone(
        "t5",
        "a T5 text encoder",
        r"encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight",
        brought_by="flan-t5-xl",
        use=_trained("var_sar.py:2b --config.varedit.text_encoder"),
    ),
    _alone(
        "vit",
        "a vision transformer of DINO or DINOv2",
        r"(embeddings\.patch_embeddings\.projection|patch_embed\.proj)\.weight",
        half=_EXACT,
        use=_trained("editar.py:xl --config.editar.teacher"),
    ),
    _alone("clip", "CLIP", r"vision_model\.embeddings\.patch_embedding\.weight", half=_EXACT),
    _alone(
        "lpips",
        "LPIPS, or its VGG16 or SqueezeNet 1.1",
        r"lin0\.model\.1\.weight|features\.(28|3\.squeeze)\.weight",
        half=_EXACT,
    ),
    _alone("inception", "FID's Inception v3", r"Mixed_5b\.branch1x1\.conv\.weight", half=_EXACT),
)
# model_type -> its first family, for fields that all families of an architecture share
BY_TYPE: dict[str, Family] = {}
for _family in FAMILIES:
    BY_TYPE.setdefault(_family.model_type, _family)
# method -> the parts of PretrainedConfig whose fields are its options
OPTIONS = {method: parts for family in FAMILIES for method, parts in family.methods.items()}


def family_of(config: Any) -> Family:
    """Return the family of a `PretrainedConfig`.

    Raises:
      ConfigError: no family has its model_type.
    """
    require_type(config.model_type)
    found = (f for f in FAMILIES if f.model_type == config.model_type and f.is_member(config))
    return next(found, BY_TYPE[config.model_type])


def require_type(model_type: str) -> None:
    """Raise ConfigError unless there is a family of this `model_type`."""
    known = ", ".join(BY_TYPE)
    require(model_type in BY_TYPE, f"model_type={model_type!r}: expected one of {known}")


def sizes_of(config: Any) -> Any:
    """Return the settings of the main network, the first part of the config's family."""
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
    """Return the name of the first bundled editor that fits.

    Args:
      method: sampling method that the editor must have, if any.
      has_task: whether the source is a map, which not every editor reads.
    """
    editors = [family for family in FAMILIES if family.bundled]
    fitting = [
        family
        for family in editors
        if (method is None or method in family.methods) and (family.translates or not has_task)
    ]
    return (fitting or editors)[0].bundled
