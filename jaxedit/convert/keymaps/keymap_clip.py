"""Key map and config of Hugging Face's CLIP."""

from typing import Any

from jaxedit.config import CLIPConfig, PretrainedConfig, TowerConfig
from jaxedit.convert.keymaps.key_rules import (
    CONV,
    LINEAR,
    TABLE,
    KeyMap,
    Layout,
    Rule,
    dense,
    norm,
    under,
)
from jaxedit.convert.sizes import Settings, Shapes, heads_of, setting, side_of

_BLOCK = (
    *norm("layer_norm1", "attn_norm"),
    *dense("self_attn.q_proj", "attn/q"),
    *dense("self_attn.k_proj", "attn/k"),
    *dense("self_attn.v_proj", "attn/v"),
    *dense("self_attn.out_proj", "attn/proj"),
    *norm("layer_norm2", "mlp_norm"),
    *dense("mlp.fc1", "mlp/up"),
    *dense("mlp.fc2", "mlp/down"),
)
_IMAGE = (
    Rule("embeddings.class_embedding", "class_token"),
    Rule("embeddings.patch_embedding.weight", "patch/kernel", CONV),
    Rule("embeddings.position_embedding.weight", "positions", TABLE),
    *norm("pre_layrnorm", "pre_norm"),  # so it is spelt
    *under("encoder.layers.{}.", "blocks[{}]/", _BLOCK),
    *norm("post_layernorm", "norm"),
)
_TEXT = (
    Rule("embeddings.token_embedding.weight", "embed", TABLE),
    Rule("embeddings.position_embedding.weight", "positions", TABLE),
    *under("encoder.layers.{}.", "blocks[{}]/", _BLOCK),
    *norm("final_layer_norm", "norm"),
)

KEYMAP = KeyMap(
    rules=(
        *under("vision_model.", "image/", _IMAGE),
        *under("text_model.", "text/", _TEXT),
        Rule("visual_projection.weight", "image_proj/kernel", LINEAR),
        Rule("text_projection.weight", "text_proj/kernel", LINEAR),
        Rule("logit_scale", "logit_scale", Layout((), 0)),
    ),
    ignored=(r"(text|vision)_model\.embeddings\.position_ids",),  # 0, 1, 2 ... in older files
)


def config_of(shapes: Shapes, settings: Settings) -> CLIPConfig:
    """Return the config of CLIP.

    As OpenAI released it, without a config.json: heads, by width; the activation (others trained
    the same sizes with another); eps; the end of a text is its largest id.
    """
    vocab_size, _ = shapes["text/embed"]
    image, text = (setting(settings, f"{name}_config", {}) for name in ("vision", "text"))
    return CLIPConfig(
        image=_tower("image", shapes, image),
        text=_tower("text", shapes, text),
        patch=shapes["image/patch/kernel"][0],
        grid=side_of(shapes["image/positions"][0] - 1),  # without the class token
        vocab_size=vocab_size,
        max_text_tokens=shapes["text/positions"][0],
        eos_id=setting(text, "eos_token_id", CLIPConfig().eos_id),
        projection_width=shapes["image_proj/kernel"][1],
    )


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the file's settings that `config_of` reads."""
    image, text = (
        {
            "num_attention_heads": tower.heads,
            "hidden_act": tower.activation,
            "layer_norm_eps": tower.norm_eps,
        }
        for tower in (config.clip.image, config.clip.text)
    )
    return {"vision_config": image, "text_config": text | {"eos_token_id": config.clip.eos_id}}


def _tower(name: str, shapes: Shapes, settings: Settings) -> TowerConfig:
    layers, width, mlp_hidden = shapes[f"{name}/blocks/mlp/up/kernel"]
    return TowerConfig(
        layers=layers,
        width=width,
        heads=heads_of(settings, width),
        mlp_hidden=mlp_hidden,
        activation=setting(settings, "hidden_act", TowerConfig().activation),
        norm_eps=setting(settings, "layer_norm_eps", TowerConfig().norm_eps),
    )
