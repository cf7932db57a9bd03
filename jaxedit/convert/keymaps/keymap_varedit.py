"""PyTorch key map of the released VAREdit and Infinity transformers.

Releases keep their layers in eight chunks, `block_chunks.C.module.M`; files with other chunks, or
with plain `blocks.N`, are read as well. Layer 0 is `first_block` here, the others are stacked.

The null text `cfg_uncond` keeps the rows that the file has: `max_text_tokens` says how many. (The
release's own loader cuts it, or fills it with random rows, to whatever length it was asked for.)
"""

import math
import re
from collections.abc import Collection

from jaxedit.convert.keymaps.key_rules import (
    LINEAR,
    TABLE,
    KeyMap,
    Layout,
    Rule,
    dense,
    norm,
    under,
)

CHUNKS = 8  # of the releases

_BLOCK = (
    Rule("ada_gss", "ada_bias", Layout((2, 3), 4)),
    Rule("sa.mat_qkv.weight", "attn/qkv/kernel", LINEAR),
    Rule("sa.q_bias", "attn/q_bias"),
    Rule("sa.v_bias", "attn/v_bias"),
    Rule("sa.scale_mul_1H11", "attn/scale", Layout((1,), 4)),
    *dense("sa.proj", "attn/proj"),
    *norm("ca_norm", "cross_norm"),
    *dense("ca.mat_q", "cross/q"),
    Rule("ca.mat_kv.weight", "cross/kv/kernel", LINEAR),
    Rule("ca.v_bias", "cross/v_bias"),
    *dense("ca.proj", "cross/proj"),
    *dense("ffn.fc1", "mlp/up"),
    *dense("ffn.fc2", "mlp/down"),
)
_TEXT = (
    Rule("cfg_uncond", "text/uncond", TABLE),
    Rule("text_norm.weight", "text/norm/scale"),
    Rule("text_proj_for_sos.ca.mat_q", "text/pool/query", Layout((1, 2), 3)),
    Rule("text_proj_for_sos.ca.mat_kv.weight", "text/pool/kv/kernel", LINEAR),
    Rule("text_proj_for_sos.ca.v_bias", "text/pool/v_bias"),
    *dense("text_proj_for_sos.ca.proj", "text/pool/proj"),
    *dense("text_proj_for_ca.0", "text/up"),
    *dense("text_proj_for_ca.2", "text/down"),
)
_RULES = (
    *_TEXT,
    Rule("pos_start", "pos_start", Layout((2,), 3)),
    Rule("lvl_embed.weight", "level_embed", TABLE),
    *dense("word_embed", "word_embed"),
    *dense("shared_ada_lin.1", "ada"),
    *dense("head_nm.ada_lin.1", "head_ada"),
    *dense("head", "head"),
    *under("blocks.0.", "first_block/", _BLOCK),
    *under("blocks.{}.", "blocks[{}-1]/", _BLOCK),
)
_IGNORED = (
    r".*zero_k_bias",  # constant zero
    r"lvl_1L|attn_bias_for_masking|Infinity_(visible_kvlen|invisible_qlen)",  # tables
)
_CHUNKED = re.compile(r"block_chunks\.(\d+)\.module\.(\d+)\.(.*)")
_PLAIN = re.compile(r"blocks\.(\d+)\.(.*)")


def _without_chunks(keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    """`blocks.N` for the keys in chunks; every chunk is as long as the longest."""
    matches = [match for match in map(_CHUNKED.fullmatch, keys) if match]
    length = 1 + max((int(match[2]) for match in matches), default=0)
    return {m[0]: (f"blocks.{int(m[1]) * length + int(m[2])}.{m[3]}",) for m in matches}


def _in_chunks(keys: Collection[str]) -> dict[str, str]:
    """`block_chunks.C.module.M` for the keys of layers, in as many chunks as divide the depth."""
    matches = [match for match in map(_PLAIN.fullmatch, keys) if match]
    depth = 1 + max((int(match[1]) for match in matches), default=0)
    length = depth // math.gcd(depth, CHUNKS)
    if length == depth:
        return {}
    places = {m: divmod(int(m[1]), length) for m in matches}
    return {m[0]: f"block_chunks.{c}.module.{n}.{m[2]}" for m, (c, n) in places.items()}


KEYMAP = KeyMap(_RULES, _IGNORED, _without_chunks, _in_chunks)
