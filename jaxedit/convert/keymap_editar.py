"""PyTorch key map of the released transformers of LlamaGen and EditAR."""

import re
from collections.abc import Mapping

import numpy as np

from jaxedit import tree
from jaxedit.convert.keymaps import Rule, conv, from_torch, linear, same

_LAYER = r"layers\.(\d+)\."
_TEXT = r"cls_embedding\.cap_proj\."

RULES = (
    Rule(r"tok_embeddings\.weight", "transformer/embed", same),
    Rule(r"output\.weight", "transformer/head/kernel", linear),
    Rule(r"norm\.weight", "transformer/norm/scale", same),
    Rule(_TEXT + r"(fc[12])\.weight", "transformer/text/{0}/kernel", linear),
    Rule(r"cls_embedding\.embedding_table\.weight", "transformer/class_embed", same),
    Rule(r"alignment\.weight", "transformer/align/kernel", conv),
    Rule(r"alignment\.bias", "transformer/align/bias", same),
    Rule(_LAYER + r"attention\.wqkv\.weight", "transformer/blocks[{0}]/attn/qkv/kernel", linear),
    Rule(_LAYER + r"attention\.wo\.weight", "transformer/blocks[{0}]/attn/proj/kernel", linear),
    Rule(_LAYER + r"attention_norm\.weight", "transformer/blocks[{0}]/attn_norm/scale", same),
    Rule(
        _LAYER + r"feed_forward\.w13\.weight", "transformer/blocks[{0}]/mlp/gate_up/kernel", linear
    ),
    Rule(_LAYER + r"feed_forward\.w2\.weight", "transformer/blocks[{0}]/mlp/down/kernel", linear),
    Rule(_LAYER + r"ffn_norm\.weight", "transformer/blocks[{0}]/mlp_norm/scale", same),
    Rule(r"cls_embedding\.uncond_embedding", "null/text", same),
    Rule(r"img_uncond_embedding", "null/image", same),
)
_WRAPPERS = re.compile(r"(module\.|_orig_mod\.)*")  # of parallel and of compiled models


def params_from_torch(state: Mapping[str, np.ndarray]) -> dict[str, tree.Tree]:
    """Parameters of `EditAR` and its constants, from the state dict of a release.

    Args:
      state: PyTorch key to array, of LlamaGen (classes or text) or of EditAR.

    Returns:
      {"transformer": ..., "null": ...}; no "null" for classes.

    Raises:
      ValueError: keys that belong to no part; a layer, or half of an MLP's input, is missing.
    """
    state = {_WRAPPERS.sub("", key, count=1): array for key, array in state.items()}
    return from_torch(_join_gates(state), RULES)


def _join_gates(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The two maps into the MLP's hidden layer, w1 and w3, as one, w13."""
    joined = {key: array for key, array in state.items() if ".feed_forward.w3." not in key}
    for key in [key for key in joined if key.endswith(".feed_forward.w1.weight")]:
        up = key.replace(".w1.", ".w3.")
        if up not in state:
            raise ValueError(f"{up} is missing")
        joined[key.replace(".w1.", ".w13.")] = np.concatenate([joined.pop(key), state[up]])
    return joined
