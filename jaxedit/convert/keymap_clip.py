"""Hugging Face's CLIP keys to the parameter paths of `models/clip.py`."""

from collections.abc import Mapping

import numpy as np

from jaxedit import tree
from jaxedit.convert.keymaps import Rule, conv, from_torch, linear, same

_TOWER = r"(?P<tower>text|vision)_model\."
_DENSE = {"self_attn.out_proj": "attn/proj", "mlp.fc1": "mlp/up", "mlp.fc2": "mlp/down"}
_NORMS = {"layer_norm1": "attn_norm", "layer_norm2": "mlp_norm"}


def _tower(key: str, path: str) -> tuple[Rule, ...]:
    layer = rf"{key}\.encoder\.layers\.(\d+)\."
    block = f"{path}/blocks[{{0}}]"
    dense = {layer + r"self_attn\.([qkv])_proj": block + "/attn/{1}"}
    dense |= {layer + name.replace(".", r"\."): f"{block}/{end}" for name, end in _DENSE.items()}
    norms = {layer + name: f"{block}/{end}" for name, end in _NORMS.items()}
    weights = [Rule(rf"{k}\.weight", f"{p}/kernel", linear) for k, p in dense.items()]
    scales = [Rule(rf"{k}\.weight", f"{p}/scale", same) for k, p in norms.items()]
    biases = [Rule(rf"{k}\.bias", f"{p}/bias", same) for k, p in (dense | norms).items()]
    return (*weights, *scales, *biases)


RULES = (
    *_tower("vision_model", "image"),
    *_tower("text_model", "text"),
    Rule(r"vision_model\.embeddings\.class_embedding", "image/class_token", lambda x: x[None]),
    Rule(r"vision_model\.embeddings\.patch_embedding\.weight", "image/patch/kernel", conv),
    Rule(r"vision_model\.embeddings\.position_embedding\.weight", "image/positions", same),
    Rule(r"vision_model\.pre_layrnorm\.weight", "image/pre_norm/scale", same),
    Rule(r"vision_model\.pre_layrnorm\.bias", "image/pre_norm/bias", same),
    Rule(r"vision_model\.post_layernorm\.weight", "image/norm/scale", same),
    Rule(r"vision_model\.post_layernorm\.bias", "image/norm/bias", same),
    Rule(r"text_model\.embeddings\.token_embedding\.weight", "text/embed", same),
    Rule(r"text_model\.embeddings\.position_embedding\.weight", "text/positions", same),
    Rule(r"text_model\.final_layer_norm\.weight", "text/norm/scale", same),
    Rule(r"text_model\.final_layer_norm\.bias", "text/norm/bias", same),
    Rule(r"visual_projection\.weight", "image_proj/kernel", linear),
    Rule(r"text_projection\.weight", "text_proj/kernel", linear),
    Rule(r"logit_scale", "logit_scale", lambda x: x.reshape(())),
)
IGNORED = (r"(text|vision)_model\.embeddings\.position_ids",)  # 0, 1, 2 ... in older files


def params_from_torch(state: Mapping[str, np.ndarray]) -> tree.Tree:
    """Parameters of `CLIP` from a state dict of Hugging Face's `CLIPModel`.

    Raises:
      ValueError: unknown keys or missing layers.
    """
    return from_torch(state, RULES, IGNORED)
