"""PyTorch key map of the released VAREdit and Infinity transformers."""

import re
from collections.abc import Mapping

import numpy as np

from jaxedit.convert.keymaps import Rule, flat, from_torch, linear, same
from jaxedit.tree import Tree

# Dense maps (weight and bias) and everything else, with the names of both sides.
_BLOCK_DENSE = {
    r"sa\.proj": "attn/proj",
    r"ca\.mat_q": "cross/q",
    r"ca\.proj": "cross/proj",
    r"ffn\.fc1": "mlp/up",
    r"ffn\.fc2": "mlp/down",
}
_BLOCK_OTHER = (
    Rule(r"ada_gss", "ada_bias", flat),
    Rule(r"sa\.mat_qkv\.weight", "attn/qkv/kernel", linear),
    Rule(r"sa\.q_bias", "attn/q_bias", same),
    Rule(r"sa\.v_bias", "attn/v_bias", same),
    Rule(r"sa\.scale_mul_1H11", "attn/scale", np.ravel),
    Rule(r"ca_norm\.weight", "cross_norm/scale", same),
    Rule(r"ca_norm\.bias", "cross_norm/bias", same),
    Rule(r"ca\.mat_kv\.weight", "cross/kv/kernel", linear),
    Rule(r"ca\.v_bias", "cross/v_bias", same),
)
_DENSE = {
    r"text_proj_for_sos\.ca\.proj": "text/pool/proj",
    r"text_proj_for_ca\.0": "text/up",
    r"text_proj_for_ca\.2": "text/down",
    r"word_embed": "word_embed",
    r"shared_ada_lin\.1": "ada",
    r"head_nm\.ada_lin\.1": "head_ada",
    r"head": "head",
}
_OTHER = (
    Rule(r"cfg_uncond", "text/uncond", same),
    Rule(r"pos_start", "pos_start", np.ravel),
    Rule(r"text_norm\.weight", "text/norm/scale", same),
    Rule(r"text_proj_for_sos\.ca\.mat_q", "text/pool/query", lambda x: x[0]),
    Rule(r"text_proj_for_sos\.ca\.mat_kv\.weight", "text/pool/kv/kernel", linear),
    Rule(r"text_proj_for_sos\.ca\.v_bias", "text/pool/v_bias", same),
    Rule(r"lvl_embed\.weight", "level_embed", same),
)


def _with_dense(names: Mapping[str, str], others: tuple[Rule, ...]) -> tuple[Rule, ...]:
    weights = (Rule(rf"{key}\.weight", f"{path}/kernel", linear) for key, path in names.items())
    biases = (Rule(rf"{key}\.bias", f"{path}/bias", same) for key, path in names.items())
    return (*weights, *biases, *others)


_BLOCK = _with_dense(_BLOCK_DENSE, _BLOCK_OTHER)
RULES = (
    *_with_dense(_DENSE, _OTHER),
    *(Rule(rf"first_block\.{r.key}", f"first_block/{r.path}", r.layout) for r in _BLOCK),
    *(Rule(rf"blocks\.(\d+)\.{r.key}", f"blocks[{{0}}]/{r.path}", r.layout) for r in _BLOCK),
)
IGNORED = (
    r".*zero_k_bias",  # constant zero
    r"lvl_1L|attn_bias_for_masking|Infinity_(visible_kvlen|invisible_qlen)",  # tables
)
_CHUNKED = re.compile(r"block_chunks\.(\d+)\.module\.(\d+)\.(.*)")
_UNCHUNKED = re.compile(r"blocks\.(\d+)\.(.*)")


def params_from_torch(state: Mapping[str, np.ndarray]) -> Tree:
    """Parameters of `VAREdit` from the release's state dict, blocks in chunks or not.

    Raises:
      ValueError: keys that belong to no part of the transformer, or a layer is missing.
    """
    chunks = [m for m in map(_CHUNKED.fullmatch, state) if m]
    per_chunk = 1 + max((int(m[2]) for m in chunks), default=0)
    renamed = {_layer_name(key, per_chunk): array for key, array in state.items()}
    return from_torch(renamed, RULES, IGNORED)


def _layer_name(key: str, per_chunk: int) -> str:
    """`first_block.` for layer 0, `blocks.<n - 1>.` for layer n; other keys unchanged."""
    if match := _CHUNKED.fullmatch(key):
        layer, rest = int(match[1]) * per_chunk + int(match[2]), match[3]
    elif match := _UNCHUNKED.fullmatch(key):
        layer, rest = int(match[1]), match[2]
    else:
        return key
    return f"blocks.{layer - 1}.{rest}" if layer else f"first_block.{rest}"
