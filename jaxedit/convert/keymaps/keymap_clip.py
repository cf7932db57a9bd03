"""PyTorch key map of Hugging Face's CLIP."""

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
