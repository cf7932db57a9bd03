"""Key map and config of DINO and DINOv2, in the names of DINOv2's files on the Hub.

The names of the Hub's DINO files, of Hugging Face's models in memory, and of the authors' own
files, where queries, keys and values are one map, are read as well.
"""

from typing import Any

from jaxedit.config import PretrainedConfig, ViTConfig
from jaxedit.convert.keymaps.key_rules import (
    KeyMap,
    Layout,
    Rule,
    conv,
    dense,
    norm,
    renaming,
    under,
)
from jaxedit.convert.sizes import Settings, Shapes, heads_of, setting, side_of

_ROWS = Layout((1, 2), 3)  # (1, rows, D) to (rows, D)
_BLOCK = (
    *norm("norm1", "attn_norm"),
    *dense("attention.attention.query", "attn/q"),
    *dense("attention.attention.key", "attn/k"),
    *dense("attention.attention.value", "attn/v"),
    *dense("attention.output.dense", "attn/proj"),
    Rule("layer_scale1.lambda1", "attn/scale"),
    *norm("norm2", "mlp_norm"),
    *dense("mlp.fc1", "mlp/up"),
    *dense("mlp.fc2", "mlp/down"),
    Rule("layer_scale2.lambda1", "mlp/scale"),
)
_LAYER = r"(encoder\.layer\.\d+)"
_QKV = ("query", "key", "value")

KEYMAP = KeyMap(
    rules=(
        Rule("embeddings.cls_token", "class_token", _ROWS),
        Rule("embeddings.position_embeddings", "positions", _ROWS),
        *conv("embeddings.patch_embeddings.projection", "patch"),
        *under("encoder.layer.{}.", "blocks[{}]/", _BLOCK),
        *norm("layernorm", "norm"),
    ),
    ignored=(r"(embeddings\.)?mask_token",),  # of DINOv2's own training
    canonical=renaming(
        # Models in memory.
        *(
            (rf"{_LAYER}\.attention\.{n[0]}_proj\.(.*)", rf"\1.attention.attention.{n}.\2")
            for n in _QKV
        ),
        (rf"{_LAYER}\.attention\.o_proj\.(.*)", r"\1.attention.output.dense.\2"),
        # DINO on the Hub.
        (rf"{_LAYER}\.layernorm_before\.(.*)", r"\1.norm1.\2"),
        (rf"{_LAYER}\.layernorm_after\.(.*)", r"\1.norm2.\2"),
        (rf"{_LAYER}\.intermediate\.dense\.(.*)", r"\1.mlp.fc1.\2"),
        (rf"{_LAYER}\.output\.dense\.(.*)", r"\1.mlp.fc2.\2"),
        # The authors' files.
        (
            r"blocks\.(\d+)\.attn\.qkv\.(.*)",
            *(rf"encoder.layer.\1.attention.attention.{name}.\2" for name in _QKV),
        ),
        (r"blocks\.(\d+)\.attn\.proj\.(.*)", r"encoder.layer.\1.attention.output.dense.\2"),
        (r"blocks\.(\d+)\.ls([12])\.gamma", r"encoder.layer.\1.layer_scale\2.lambda1"),
        (r"blocks\.(\d+)\.(.*)", r"encoder.layer.\1.\2"),
        (r"cls_token", "embeddings.cls_token"),
        (r"pos_embed", "embeddings.position_embeddings"),
        (r"patch_embed\.proj\.(.*)", r"embeddings.patch_embeddings.projection.\1"),
        (r"norm\.(.*)", r"layernorm.\1"),
    ),
)


def config_of(shapes: Shapes, settings: Settings) -> ViTConfig:
    """Return the config of a vision transformer of DINO or, with layer scales, DINOv2.

    As released, without a config.json: heads, by width; eps; and the shift of the positions of
    other sizes by a tenth of a patch, which DINO's own code has, but not Hugging Face's.
    """
    layers, width, mlp_hidden = shapes["blocks/mlp/up/kernel"]
    has_layer_scale = "blocks/attn/scale" in shapes
    return ViTConfig(
        layers=layers,
        width=width,
        heads=heads_of(settings, width),
        mlp_hidden=mlp_hidden,
        patch=shapes["patch/kernel"][0],
        grid=side_of(shapes["positions"][0] - 1),  # without the class token
        layer_scale=has_layer_scale,
        position_offset=0.0 if has_layer_scale or "model_type" in settings else 0.1,
        norm_eps=setting(settings, "layer_norm_eps", ViTConfig().norm_eps),
    )


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the file's settings that `config_of` reads."""
    settings = {"num_attention_heads": config.vit.heads, "layer_norm_eps": config.vit.norm_eps}
    return settings if config.vit.position_offset else settings | {"model_type": "dinov2"}
