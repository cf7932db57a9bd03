"""Settings of a network from the shapes of its parameters, and what a file tells beside them.

The file's own settings, Hugging Face's config.json or the arguments of the run, add what shapes do
not tell. What neither tells is as released; the docstrings below list it.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxedit.config import (
    EDITAR_PRESETS,
    LLAMAGEN_SIZES,
    BSQConfig,
    CLIPConfig,
    EditARConfig,
    PretrainedConfig,
    T5Config,
    TowerConfig,
    VAREditConfig,
    ViTConfig,
    VQConfig,
    require,
)

Settings = Mapping[str, Any]

# Bits per token of the released tokenizers -> whether 2x2 latent positions are one token.
PATCHIFY = {16: False, 24: False, 32: False, 56: True, 64: False}
# Width -> heads of the released vision transformers and of both of OpenAI's towers.
HEADS = {384: 6, 512: 8, 768: 12, 1024: 16}
# (layers, width) -> heads of the next-token transformers: LlamaGen's sizes and the bundled one.
_TINY = EDITAR_PRESETS["tiny"].editar
TOKEN_HEADS = {(layers, width): heads for layers, width, heads, _ in LLAMAGEN_SIZES.values()}
TOKEN_HEADS |= {(_TINY.layers, _TINY.width): _TINY.heads}

_TELL = "write it to a config.json beside the file"


class Shapes(dict[str, tuple[int, ...]]):
    """Shape by path of the parameters of one network."""

    def __missing__(self, path: str) -> tuple[int, ...]:
        """Raise ValueError: no key of the state dict became `path`."""
        raise ValueError(f"no key becomes {path}")

    def count(self, template: str) -> int:
        """How many numbers, from 0 on, `template` has a parameter for."""
        number = 0
        while template.format(number) in self:
            number += 1
        return number


def varedit(shapes: Shapes, settings: Settings) -> VAREditConfig:
    """VAREdit's or Infinity's transformer.

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
        f'{_TELL}, {{"apply_spatial_patchify": 0 or 1}}',
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


def editar(shapes: Shapes, settings: Settings) -> EditARConfig:
    """LlamaGen's or EditAR's transformer.

    As released: heads, by layers and width; the grid of a model that reads no picture, 16 tokens,
    if its run does not say `image_size` and `downsample_size`; rotary base and eps; dropout.
    """
    codes, width = shapes["transformer/embed"]
    layers, _, rows = shapes["transformer/blocks/attn/qkv/kernel"]
    heads = _value(settings, "n_head", TOKEN_HEADS.get((layers, width), 0))
    require(
        heads > 0,
        f"{layers} layers of width {width} are no released size, and weights do not tell the "
        f'number of heads: {_TELL}, {{"n_head": ...}}',
    )
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
        grid=_token_grid(shapes, settings),
        prefix="class" if is_class else "edit" if "null/image" in shapes else "text",
        classes=shapes["transformer/class_embed"][0] - 1 if is_class else 0,  # the last: no class
        distill_width=shapes.get("transformer/align/bias", (0,))[0],
    )
    if not is_class:
        config.text_tokens = shapes["null/text"][0]
        config.text_width = shapes["transformer/text/fc1/kernel"][0]
    return config


def bsq(shapes: Shapes, settings: Settings) -> BSQConfig:
    """Infinity's image tokenizer; shapes tell everything."""
    bits, outputs = shapes["decoder/conv_in/kernel"][2], shapes["encoder/conv_out/kernel"][3]
    require(bits == outputs, f"the encoder has {outputs} outputs for {bits} bits: expected as many")
    base, mult, blocks = _levels(shapes)
    return BSQConfig(
        bits=bits,
        stride=2 ** shapes.count("encoder/down_{}_downsample/kernel"),
        base_channels=base,
        channel_mult=mult,
        res_blocks=blocks,
    )


def vq(shapes: Shapes, settings: Settings) -> VQConfig:
    """LlamaGen's image tokenizer.

    As released: codes are compared as unit vectors, if its run does not say `codebook_l2_norm`.
    """
    codes, code_width = shapes["codebook"]
    base, mult, blocks = _levels(shapes)
    return VQConfig(
        codes=codes,
        code_width=code_width,
        base_channels=base,
        channel_mult=mult,
        res_blocks=blocks,
        latent_width=shapes["encoder/conv_out/kernel"][3],
        unit_norm=_value(settings, "codebook_l2_norm", True),
    )


def t5(shapes: Shapes, settings: Settings) -> T5Config:
    """The encoder of T5 v1.1 or Flan-T5.

    As released, without a config.json: the farthest position (128) and eps.
    """
    vocab_size, width = shapes["embed"]
    buckets, heads = shapes["position_bias"]
    layers, _, inner = shapes["blocks/attn/q/kernel"]
    require(inner % heads == 0, f"{inner} rows of queries do not divide into {heads} heads")
    act = _value(settings, "feed_forward_proj", "gated-gelu")
    require(act == "gated-gelu", f"feed_forward_proj={act!r}: expected 'gated-gelu'")
    return T5Config(
        vocab_size=vocab_size,
        width=width,
        head_width=inner // heads,
        mlp_hidden=shapes["blocks/mlp/gate/kernel"][2],
        layers=layers,
        heads=heads,
        position_buckets=buckets,
        position_max_distance=_value(settings, "relative_attention_max_distance", 128),
        norm_eps=_value(settings, "layer_norm_epsilon", T5Config().norm_eps),
    )


def vit(shapes: Shapes, settings: Settings) -> ViTConfig:
    """DINO's or DINOv2's vision transformer; the one with layer scales is DINOv2.

    As released, without a config.json: heads, by width; eps; and how DINO's own code, but not
    Hugging Face's, moves the positions of other sizes by a tenth of a patch.
    """
    layers, width, mlp_hidden = shapes["blocks/mlp/up/kernel"]
    layer_scale = "blocks/attn/scale" in shapes
    return ViTConfig(
        layers=layers,
        width=width,
        heads=_heads(settings, width),
        mlp_hidden=mlp_hidden,
        patch=shapes["patch/kernel"][0],
        grid=_side(shapes["positions"][0] - 1),
        layer_scale=layer_scale,
        position_offset=0.0 if layer_scale or "model_type" in settings else 0.1,
        norm_eps=_value(settings, "layer_norm_eps", ViTConfig().norm_eps),
    )


def clip(shapes: Shapes, settings: Settings) -> CLIPConfig:
    """CLIP.

    As OpenAI released it, without a config.json: heads, by width; the activation (others trained
    the same sizes with another); eps; the end of a text is its largest id.
    """
    vocab_size, _ = shapes["text/embed"]
    image, text = (_value(settings, f"{name}_config", {}) for name in ("vision", "text"))
    return CLIPConfig(
        image=_tower("image", shapes, image),
        text=_tower("text", shapes, text),
        patch=shapes["image/patch/kernel"][0],
        grid=_side(shapes["image/positions"][0] - 1),
        vocab_size=vocab_size,
        max_text_tokens=shapes["text/positions"][0],
        eos_id=_value(text, "eos_token_id", CLIPConfig().eos_id),
        projection_width=shapes["image_proj/kernel"][1],
    )


def tell_varedit(config: PretrainedConfig) -> dict[str, Any]:
    """What `varedit` reads from a file's own settings."""
    return {"apply_spatial_patchify": int(config.varedit.patchify)}


def tell_editar(config: PretrainedConfig) -> dict[str, Any]:
    """What `editar` reads from a file's own settings."""
    return {
        "n_head": config.editar.heads,
        "image_size": config.editar.grid * config.vq.stride,
        "downsample_size": config.vq.stride,
    }


def tell_vq(config: PretrainedConfig) -> dict[str, Any]:
    """What `vq` reads from a file's own settings."""
    return {"codebook_l2_norm": config.vq.unit_norm}


def tell_t5(config: PretrainedConfig) -> dict[str, Any]:
    """What `t5` reads from a file's own settings."""
    return {
        "relative_attention_max_distance": config.t5.position_max_distance,
        "layer_norm_epsilon": config.t5.norm_eps,
    }


def tell_vit(config: PretrainedConfig) -> dict[str, Any]:
    """What `vit` reads from a file's own settings."""
    settings = {"num_attention_heads": config.vit.heads, "layer_norm_eps": config.vit.norm_eps}
    return settings if config.vit.position_offset else settings | {"model_type": "dinov2"}


def tell_clip(config: PretrainedConfig) -> dict[str, Any]:
    """What `clip` reads from a file's own settings."""
    text = _tell_tower(config.clip.text) | {"eos_token_id": config.clip.eos_id}
    return {"vision_config": _tell_tower(config.clip.image), "text_config": text}


def _tell_tower(tower: TowerConfig) -> dict[str, Any]:
    return {
        "num_attention_heads": tower.heads,
        "hidden_act": tower.activation,
        "layer_norm_eps": tower.norm_eps,
    }


def _tower(name: str, shapes: Shapes, settings: Settings) -> TowerConfig:
    layers, width, mlp_hidden = shapes[f"{name}/blocks/mlp/up/kernel"]
    return TowerConfig(
        layers=layers,
        width=width,
        heads=_heads(settings, width),
        mlp_hidden=mlp_hidden,
        activation=_value(settings, "hidden_act", TowerConfig().activation),
        norm_eps=_value(settings, "layer_norm_eps", TowerConfig().norm_eps),
    )


def _levels(shapes: Shapes) -> tuple[int, tuple[int, ...], int]:
    """Base channels, their multiples by level, and residual blocks of an image tokenizer."""
    base, first = shapes["encoder/conv_in/kernel"][3], "encoder/down_{}_block_0/conv1/kernel"
    channels = [shapes[first.format(n)][3] for n in range(shapes.count(first))]
    require(
        all(c % base == 0 for c in channels),
        f"levels of {channels} channels: expected multiples of {base}",
    )
    blocks = shapes.count("encoder/down_0_block_{}/conv1/kernel")
    return base, tuple(c // base for c in channels), blocks


def _token_grid(shapes: Shapes, settings: Settings) -> int:
    if "null/image" in shapes:
        return _side(shapes["null/image"][0])
    pixels, stride = (_value(settings, n, 0) for n in ("image_size", "downsample_size"))
    return pixels // stride if pixels > 0 and stride > 0 else 16


def _heads(settings: Settings, width: int) -> int:
    heads = _value(settings, "num_attention_heads", HEADS.get(width, 0))
    require(
        heads > 0,
        f"width {width} is no released size, and weights do not tell the number of heads: {_TELL}, "
        '{"num_attention_heads": ...}',
    )
    return heads


def _side(positions: int) -> int:
    side = math.isqrt(max(positions, 0))
    require(side * side == positions, f"{positions} positions: expected those of a square")
    return side


def _value(settings: Settings, name: str, default: Any) -> Any:
    """A setting of the file, of the same type as `default`."""
    value = settings.get(name)
    if value is None:
        return default
    is_one = type(value) in ((int, float) if isinstance(default, float) else (type(default),))
    expected = type(default).__name__
    require(is_one, f"{name}={value!r} in the file's settings: expected {expected}")
    return value
