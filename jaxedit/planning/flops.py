"""Floating-point operations of a forward pass, network by network, from the sizes in the configs.

Matrix products and convolutions are counted, with an addition and a multiplication for each term.
Elementwise operations, norms, softmax, rotary positions and resizing are left out; they are 1 to
3 % of the large models. Attention counts only the pairs of tokens that attend to each other.
"""

from collections.abc import Iterable
from typing import NamedTuple

from jaxedit.config import (
    BSQConfig,
    EditARConfig,
    Scales,
    T5Config,
    VAREditConfig,
    ViTConfig,
    VQConfig,
)
from jaxedit.models.lpips import STAGES
from jaxedit.ops import pyramid
from jaxedit.planning.tokenizer_layers import Layer, decoder_layers, encoder_layers


class Forward(NamedTuple):
    """Operations of a forward pass of a sample."""

    weights: float  # products of activations with weights, including convolutions
    scores: float = 0.0  # products of activations with each other: the two products of attention


def varedit(c: VAREditConfig, text_tokens: int) -> Forward:
    """Count VAREdit on the source, all scales of the target, and a text of `text_tokens` tokens."""
    C, Q, T = c.width, c.token_bits, text_tokens
    source = c.source_scales(c.scales)
    target = pyramid.tokens(c.scales)
    tokens = pyramid.tokens(source) + target
    # Per image token in a block: q, k, v and output projection of the self-attention; q and output
    # projection of the cross-attention; up and down projections of the MLP.
    block = tokens * (4 * C * C + 2 * C * C + 2 * C * c.mlp_hidden)
    block += T * 2 * C * C  # keys and values of the text
    # Text: keys and values of the pool, up, down; output projection of the pooled vector.
    text = T * (c.text_width * 2 * C + c.text_width * C + C * C) + C * C
    modulation = C * 6 * C + C * 2 * C  # of the blocks and of the head, once per image
    # Word embedding, which the first target token does not have; head.
    ends = (tokens - 1) * Q * C + target * C * 2 * Q
    pairs = (c.depth - 1) * _seen((*source, *c.scales)) + _seen_in_first_block(c)
    pairs += (c.depth * tokens + 1) * T  # cross-attention; the single query of the text pool
    return Forward(2 * (c.depth * block + text + modulation + ends), 2 * 2 * C * pairs)


def _seen(blocks: Scales) -> int:
    """Count the pairs of block-causal attention: tokens attend to their own and earlier blocks."""
    return sum(h * w * pyramid.tokens(blocks[: k + 1]) for k, (h, w) in enumerate(blocks))


def _seen_in_first_block(c: VAREditConfig) -> int:
    """Count the pairs in block 0, where SAR gives each scale a source resized to that scale."""
    source = pyramid.tokens(c.scales[-1:])
    if c.conditioning != "sar":
        return _seen((*c.source_scales(c.scales), *c.scales))
    return source * source + sum((h * w) ** 2 for h, w in c.scales) + _seen(c.scales)


def editar(c: EditARConfig) -> Forward:
    """Count EditAR or LlamaGen on a whole sequence, of which the target's codes are predicted."""
    D, N = c.width, c.image_tokens
    tokens = c.prefix_tokens + N - 1  # nothing is predicted from the last token
    shared = c.groups * c.head_width  # width of the keys, and of the values
    # Per token in a block: q, k, v; output projection; gate, up and down.
    block = tokens * (D * (D + 2 * shared) + D * D + 3 * D * c.mlp_hidden)
    text = 0 if c.prefix == "class" else c.text_tokens * (c.text_width * D + D * D)
    head = N * D * c.codes
    pairs = tokens * (tokens + 1) / 2  # each token attends to itself and all earlier tokens
    return Forward(2 * (c.layers * block + text + head), 2 * 2 * D * c.layers * pairs)


def align(c: EditARConfig) -> Forward:
    """Count EditAR's prediction of a teacher's features, one from each block of 2 x 2 tokens."""
    return Forward(2 * c.image_tokens * c.width * c.distill_width)


def t5(c: T5Config, tokens: int) -> Forward:
    """Count the text encoder: q, k, v, o; gate, up and down."""
    inner = c.heads * c.head_width
    block = tokens * (4 * c.width * inner + 3 * c.width * c.mlp_hidden)
    return Forward(2 * c.layers * block, 2 * 2 * c.layers * tokens * tokens * inner)


def vit(c: ViTConfig, side: int) -> Forward:
    """Count DINO on side x side patches: patches; q, k, v and output projection; up and down."""
    D, tokens = c.width, side * side + 1  # and the class token
    patches = side * side * 3 * c.patch**2 * D
    block = tokens * (4 * D * D + 2 * D * c.mlp_hidden)
    return Forward(2 * (patches + c.layers * block), 2 * 2 * c.layers * tokens * tokens * D)


def image_encoder(c: BSQConfig | VQConfig, size: int) -> Forward:
    """Count a tokenizer's encoder on an image of size x size pixels, to features or codes."""
    features = _sum(map(_layer, encoder_layers(c, size)))
    if isinstance(c, BSQConfig):
        return features
    positions = (size // c.stride) ** 2
    return _sum((features, Forward(2 * positions * c.code_width * c.codes)))  # each to each code


def image_decoder(c: BSQConfig | VQConfig, size: int) -> Forward:
    """Count a tokenizer's decoder to an image of size x size pixels."""
    return _sum(map(_layer, decoder_layers(c, size)))


def vgg16(size: int) -> Forward:
    """Count LPIPS's network on an image of size x size pixels."""
    total, before = 0.0, 3
    for i, (channels, depth) in enumerate(STAGES):
        side = size >> i
        total += _conv(side, before, channels) + (depth - 1) * _conv(side, channels, channels)
        before = channels
    return Forward(total)


def discriminator(channels: int, size: int) -> Forward:
    """Count the PatchGAN on an image of size x size: 4 x 4 convolutions, three with stride 2."""
    total, before = 0.0, 3
    for i, side in enumerate((size // 2, size // 4, size // 8, size // 8 - 1)):
        total += _conv(side, before, channels << i, 4)
        before = channels << i
    return Forward(total + _conv(size // 8 - 2, before, 1, 4))


def _layer(layer: Layer) -> Forward:
    """Count a layer of an image tokenizer."""
    _, _, side, before, after, kernel = layer
    if layer.kind == "conv":
        return Forward(_conv(side, before, after, kernel))
    if layer.kind == "attention":  # q, k, v and proj, then scores and mixture
        return Forward(4 * _conv(side, before, after, 1), 2 * 2 * side**4 * after)
    skip = _conv(side, before, after, 1) if before != after else 0
    return Forward(_conv(side, before, after) + _conv(side, after, after) + skip)


def _conv(side: int, before: int, after: int, kernel: int = 3) -> float:
    """Count a convolution to side x side positions."""
    return 2.0 * side * side * kernel * kernel * before * after


def _sum(parts: Iterable[Forward]) -> Forward:
    return Forward(*map(sum, zip(*parts, strict=True)))
