"""Keys of DINOv2 (Hugging Face's files and its models in memory) and of DINO to `models/vit.py`."""

import re
from collections.abc import Mapping

import numpy as np

from jaxedit import tree
from jaxedit.convert.keymaps import Rule, conv, from_torch, linear, same

_BLOCK = r"(?:encoder\.layer|blocks)\.(\d+)\."
_QKV = _BLOCK + r"attention\.(?:attention\.)?([qkv])(?:uery|ey|alue|_proj)\."
_DENSE = {  # of a layer
    r"(?:attention\.output\.dense|attention\.o_proj|attn\.proj)": "attn/proj",
    r"mlp\.fc1": "mlp/up",
    r"mlp\.fc2": "mlp/down",
}


def _drop_first(array: np.ndarray) -> np.ndarray:
    return array[0]


RULES = (
    Rule(r"(?:embeddings\.)?cls_token", "class_token", _drop_first),
    Rule(r"(?:embeddings\.position_embeddings|pos_embed)", "positions", _drop_first),
    Rule(
        r"(?:embeddings\.patch_embeddings\.projection|patch_embed\.proj)\.weight",
        "patch/kernel",
        conv,
    ),
    Rule(
        r"(?:embeddings\.patch_embeddings\.projection|patch_embed\.proj)\.bias",
        "patch/bias",
        same,
    ),
    Rule(_QKV + "weight", "blocks[{0}]/attn/{1}/kernel", linear),
    Rule(_QKV + "bias", "blocks[{0}]/attn/{1}/bias", same),
    *(
        Rule(rf"{_BLOCK}{key}\.{end}", f"blocks[{{0}}]/{path}/{name}", layout)
        for key, path in _DENSE.items()
        for end, name, layout in (("weight", "kernel", linear), ("bias", "bias", same))
    ),
    *(
        Rule(rf"{_BLOCK}norm{i}\.{end}", f"blocks[{{0}}]/{part}_norm/{name}", same)
        for i, part in ((1, "attn"), (2, "mlp"))
        for end, name in (("weight", "scale"), ("bias", "bias"))
    ),
    Rule(_BLOCK + r"layer_scale1\.lambda1", "blocks[{0}]/attn/scale", same),
    Rule(_BLOCK + r"layer_scale2\.lambda1", "blocks[{0}]/mlp/scale", same),
    Rule(r"(?:layernorm|norm)\.weight", "norm/scale", same),
    Rule(r"(?:layernorm|norm)\.bias", "norm/bias", same),
)
IGNORED = (r"embeddings\.mask_token",)  # of DINOv2's own training
_FUSED = re.compile(r"(blocks\.\d+)\.attn\.qkv\.(weight|bias)")


def params_from_torch(state: Mapping[str, np.ndarray]) -> tree.Tree:
    """Parameters of `ViT` from a state dict of Hugging Face's DINOv2 or of DINO's own code.

    Raises:
      ValueError: unknown keys or missing layers.
    """
    apart: dict[str, np.ndarray] = {}
    for key, array in state.items():
        if match := _FUSED.fullmatch(key):
            parts = zip("qkv", np.split(array, 3), strict=True)
            apart |= {f"{match[1]}.attention.{n}_proj.{match[2]}": part for n, part in parts}
        else:
            apart[key] = array
    return from_torch(apart, RULES, IGNORED)
