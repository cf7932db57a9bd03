"""Key map and config of the released transformers of LlamaGen (classes and text) and of EditAR.

The parameters of `EditAR` are under `transformer/`. The constants of guidance are under `null/`;
models of classes have none.
"""

from typing import Any

from jaxedit.config import (
    EDITAR_PRESETS,
    LLAMAGEN_SIZES,
    EditARConfig,
    PretrainedConfig,
    require,
)
from jaxedit.convert.keymaps.key_rules import LINEAR, TABLE, KeyMap, Rule, conv, under
from jaxedit.convert.sizes import ADVICE, Settings, Shapes, setting, side_of

_TINY = EDITAR_PRESETS["tiny"].editar
# (layers, width) -> heads of LlamaGen's sizes and of the bundled model
HEADS = {(layers, width): heads for layers, width, heads, _ in LLAMAGEN_SIZES.values()}
HEADS |= {(_TINY.layers, _TINY.width): _TINY.heads}

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


def config_of(shapes: Shapes, settings: Settings) -> EditARConfig:
    """Return the config of a transformer.

    As released: heads, by layers and width; the grid of a model that reads no picture, 16 tokens,
    if its run does not say `image_size` and `downsample_size`; rotary base and eps; dropout.
    """
    codes, width = shapes["transformer/embed"]
    layers, _, rows = shapes["transformer/blocks/attn/qkv/kernel"]
    heads = setting(settings, "n_head", HEADS.get((layers, width), 0))
    require(
        heads > 0,
        f"{layers} layers of width {width} are no released size, and weights do not tell the "
        f'number of heads: {ADVICE}, {{"n_head": ...}}',
    )
    # Rows of queries, keys and values: width + 2 groups (width / heads).
    groups, rest = divmod((rows - width) * heads, 2 * width)
    require(rest == 0, f"wqkv has {rows} rows: does not fit width {width} in {heads} heads")
    is_class = "transformer/class_embed" in shapes
    require(
        is_class != ("null/text" in shapes), "expected an embedding of either classes or captions"
    )
    config = EditARConfig(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=0 if groups == heads else groups,
        mlp_hidden=shapes["transformer/blocks/mlp/down/kernel"][1],
        codes=codes,
        grid=_grid(shapes, settings),
        prefix="class" if is_class else "edit" if "null/image" in shapes else "text",
        classes=shapes["transformer/class_embed"][0] - 1 if is_class else 0,  # the last is no class
        distill_width=shapes.get("transformer/align/bias", (0,))[0],
    )
    if not is_class:
        config.text_tokens = shapes["null/text"][0]
        config.text_width = shapes["transformer/text/fc1/kernel"][0]
    return config


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the file's settings that `config_of` reads."""
    stride = config.vq.stride
    pixels = config.editar.grid * stride
    return {"n_head": config.editar.heads, "image_size": pixels, "downsample_size": stride}


def _grid(shapes: Shapes, settings: Settings) -> int:
    """Return the side of the token grid."""
    if "null/image" in shapes:
        return side_of(shapes["null/image"][0])
    pixels, stride = (setting(settings, n, 0) for n in ("image_size", "downsample_size"))
    return pixels // stride if pixels > 0 and stride > 0 else 16
