"""Key map and config of Hugging Face's T5 encoders, with gated MLPs as in Flan-T5."""

from collections.abc import Collection
from typing import Any

from jaxedit.config import PretrainedConfig, T5Config, require
from jaxedit.convert.keymaps.key_rules import LINEAR, TABLE, KeyMap, Rule, under
from jaxedit.convert.sizes import Settings, Shapes, setting

_ATTENTION = (
    Rule("q.weight", "q/kernel", LINEAR),
    Rule("k.weight", "k/kernel", LINEAR),
    Rule("v.weight", "v/kernel", LINEAR),
    Rule("o.weight", "o/kernel", LINEAR),
)
_MLP = (
    Rule("wi_0.weight", "gate/kernel", LINEAR),
    Rule("wi_1.weight", "up/kernel", LINEAR),
    Rule("wo.weight", "down/kernel", LINEAR),
)
_BLOCK = (
    Rule("layer.0.layer_norm.weight", "attn_norm/scale"),
    *under("layer.0.SelfAttention.", "attn/", _ATTENTION),
    Rule("layer.1.layer_norm.weight", "mlp_norm/scale"),
    *under("layer.1.DenseReluDense.", "mlp/", _MLP),
)
_POSITIONS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def _embedding(keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Rename the embedding's second name: older files hold both, some encoders only the second."""
    return {"encoder.embed_tokens.weight": () if "shared.weight" in keys else ("shared.weight",)}


KEYMAP = KeyMap(
    rules=(
        Rule("shared.weight", "embed", TABLE),
        Rule(_POSITIONS, "position_bias", TABLE),
        *under("encoder.block.{}.", "blocks[{}]/", _BLOCK),
        Rule("encoder.final_layer_norm.weight", "norm/scale"),
    ),
    ignored=(r"decoder\..*", r"lm_head\.weight"),  # of whole models; no editor uses the decoder
    canonical=_embedding,
)


def config_of(shapes: Shapes, settings: Settings) -> T5Config:
    """Return the config of an encoder of T5 v1.1 or Flan-T5.

    As released, without a config.json: the farthest position (128) and eps.
    """
    vocab_size, width = shapes["embed"]
    buckets, heads = shapes["position_bias"]
    layers, _, inner = shapes["blocks/attn/q/kernel"]
    require(inner % heads == 0, f"{inner} rows of queries do not divide into {heads} heads")
    act = setting(settings, "feed_forward_proj", "gated-gelu")
    require(act == "gated-gelu", f"feed_forward_proj={act!r}: expected 'gated-gelu'")
    return T5Config(
        vocab_size=vocab_size,
        width=width,
        head_width=inner // heads,
        mlp_hidden=shapes["blocks/mlp/gate/kernel"][2],
        layers=layers,
        heads=heads,
        position_buckets=buckets,
        position_max_distance=setting(settings, "relative_attention_max_distance", 128),
        norm_eps=setting(settings, "layer_norm_epsilon", T5Config().norm_eps),
    )


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the file's settings that `config_of` reads."""
    return {
        "relative_attention_max_distance": config.t5.position_max_distance,
        "layer_norm_epsilon": config.t5.norm_eps,
    }
