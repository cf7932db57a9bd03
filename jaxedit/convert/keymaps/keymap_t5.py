"""PyTorch key map of Hugging Face's T5 encoders, with gated MLPs as in Flan-T5."""

from collections.abc import Collection

from jaxedit.convert.keymaps.key_rules import LINEAR, TABLE, KeyMap, Rule, under

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
    """Older files hold the embedding twice, and some encoders only under its second name."""
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
