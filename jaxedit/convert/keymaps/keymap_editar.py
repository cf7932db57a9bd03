"""PyTorch key map of the released transformers of LlamaGen (classes and text) and of EditAR.

The parameters of `EditAR` are under `transformer/`, the constants of guidance under `null/`; models
of classes have none.
"""

from jaxedit.convert.keymaps.key_rules import LINEAR, TABLE, KeyMap, Rule, conv, under

_BLOCK = (
    Rule("attention_norm.weight", "attn_norm/scale"),
    Rule("attention.wqkv.weight", "attn/qkv/kernel", LINEAR),
    Rule("attention.wo.weight", "attn/proj/kernel", LINEAR),
    Rule("ffn_norm.weight", "mlp_norm/scale"),
    Rule(("feed_forward.w1.weight", "feed_forward.w3.weight"), "mlp/gate_up/kernel", LINEAR),
    Rule("feed_forward.w2.weight", "mlp/down/kernel", LINEAR),
)
_TRANSFORMER = (
    Rule("tok_embeddings.weight", "embed", TABLE),
    Rule("cls_embedding.cap_proj.fc1.weight", "text/fc1/kernel", LINEAR),
    Rule("cls_embedding.cap_proj.fc2.weight", "text/fc2/kernel", LINEAR),
    Rule("cls_embedding.embedding_table.weight", "class_embed", TABLE),
    *under("layers.{}.", "blocks[{}]/", _BLOCK),
    Rule("norm.weight", "norm/scale"),
    Rule("output.weight", "head/kernel", LINEAR),
    *conv("alignment", "align"),
)

KEYMAP = KeyMap(
    rules=(
        *under("", "transformer/", _TRANSFORMER),
        Rule("cls_embedding.uncond_embedding", "null/text", TABLE),
        Rule("img_uncond_embedding", "null/image", TABLE),
    )
)
