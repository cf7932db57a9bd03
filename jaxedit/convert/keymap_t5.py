"""Hugging Face's T5 encoder keys to the parameter paths of `models/t5.py`."""

from collections.abc import Mapping

import numpy as np

from jaxedit import tree
from jaxedit.convert.keymaps import Rule, from_torch, linear, same

_BLOCK = r"encoder\.block\.(\d+)\."
_ATTENTION = _BLOCK + r"layer\.0\.SelfAttention\."
_MLP = _BLOCK + r"layer\.1\.DenseReluDense\."

RULES = (
    Rule(r"shared\.weight", "embed", same),
    Rule(
        r"encoder\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.weight",
        "position_bias",
        same,
    ),
    Rule(_ATTENTION + r"([qkvo])\.weight", "blocks[{0}]/attn/{1}/kernel", linear),
    Rule(_MLP + r"wi_0\.weight", "blocks[{0}]/mlp/gate/kernel", linear),
    Rule(_MLP + r"wi_1\.weight", "blocks[{0}]/mlp/up/kernel", linear),
    Rule(_MLP + r"wo\.weight", "blocks[{0}]/mlp/down/kernel", linear),
    Rule(_BLOCK + r"layer\.0\.layer_norm\.weight", "blocks[{0}]/attn_norm/scale", same),
    Rule(_BLOCK + r"layer\.1\.layer_norm\.weight", "blocks[{0}]/mlp_norm/scale", same),
    Rule(r"encoder\.final_layer_norm\.weight", "norm/scale", same),
)
# Older files repeat the embedding; whole T5 models also hold the decoder, which no editor uses.
IGNORED = (r"encoder\.embed_tokens\.weight", r"decoder\..*", r"lm_head\.weight")


def params_from_torch(state: Mapping[str, np.ndarray]) -> tree.Tree:
    """Parameters of `T5Encoder` from a state dict of Hugging Face's T5.

    Raises:
      ValueError: unknown keys or missing layers.
    """
    return from_torch(state, RULES, IGNORED)
