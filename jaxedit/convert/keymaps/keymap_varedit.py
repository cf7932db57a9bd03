"""Key map and config of the released VAREdit and Infinity transformers.

Releases keep their layers in eight chunks, `block_chunks.C.module.M`; files with other chunks, or
with plain `blocks.N`, are read as well. Layer 0 is `first_block` here, the others are stacked.

The null text `cfg_uncond` keeps its rows; `max_text_tokens` is their number. (The release's own
loader cuts it, or fills it with random rows, to the length of its caller.)
"""

import math
import re
from collections.abc import Collection
from typing import Any

from jaxedit.config import PretrainedConfig, VAREditConfig, require
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
from jaxedit.convert.sizes import ADVICE, Settings, Shapes

CHUNKS = 8  # of the releases
# Bits per token of the released tokenizers -> whether 2x2 latent positions are one token.
PATCHIFY = {16: False, 24: False, 32: False, 56: True, 64: False}

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
    """Rename keys in chunks to `blocks.N`; all chunks but the last are as long as the longest."""
    matches = [match for match in map(_CHUNKED.fullmatch, keys) if match]
    length = 1 + max((int(match[2]) for match in matches), default=0)
    return {m[0]: (f"blocks.{int(m[1]) * length + int(m[2])}.{m[3]}",) for m in matches}


def _in_chunks(keys: Collection[str]) -> dict[str, str]:
    """Rename keys of layers to `block_chunks.C.module.M`, in as many chunks as divide the depth."""
    matches = [match for match in map(_PLAIN.fullmatch, keys) if match]
    depth = 1 + max((int(match[1]) for match in matches), default=0)
    length = depth // math.gcd(depth, CHUNKS)
    if length == depth:
        return {}
    places = {m: divmod(int(m[1]), length) for m in matches}
    return {m[0]: f"block_chunks.{c}.module.{n}.{m[2]}" for m, (c, n) in places.items()}


KEYMAP = KeyMap(_RULES, _IGNORED, _without_chunks, _in_chunks)


def config_of(shapes: Shapes, settings: Settings) -> VAREditConfig:
    """Return the config of VAREdit's or Infinity's transformer.

    As released: the schedule (512 px), conditioning and rotary positions of VAREdit, and, for as
    many bits as a released tokenizer has, whether tokens are 2x2 patches.
    """
    bits, width = shapes["word_embed/kernel"]
    outputs = shapes["head/kernel"][1]
    require(outputs == 2 * bits, f"the head has {outputs} outputs for {bits} bits: expected twice")
    patchify = settings.get("apply_spatial_patchify", PATCHIFY.get(bits))
    require(
        patchify in (False, True) and bits % (4 if patchify else 1) == 0,
        f"cannot tell whether tokens of {bits} bits are 2x2 patches: "
        f'{ADVICE}, {{"apply_spatial_patchify": 0 or 1}}',
    )
    layers, heads = shapes["blocks/attn/scale"]
    text_tokens, text_width = shapes["text/uncond"]
    return VAREditConfig(
        depth=1 + layers,
        width=width,
        heads=heads,
        mlp_hidden=shapes["blocks/mlp/up/kernel"][2],
        bits=bits // 4 if patchify else bits,
        patchify=bool(patchify),
        text_width=text_width,
        text_pool_heads=shapes["text/pool/query"][0],
        max_text_tokens=text_tokens,
        levels=shapes["level_embed"][0],
    )


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the file's settings that `config_of` reads."""
    return {"apply_spatial_patchify": int(config.varedit.patchify)}
