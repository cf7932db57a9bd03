"""The arithmetic of a forward pass, network by network: a formula of the sizes in its config.

Counted are matrix products and convolutions, an addition and a multiplication for each term. What
works element by element, norms, softmax, rotary positions and resizing are left out: 1 to 3 % of
the large models. Attention counts the pairs of tokens that see each other, not the whole square.
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
    """Operations of one forward pass of one sample.

    Attributes:
      weights: in products of activations with weights, convolutions among them.
      scores: in products of activations with each other: attention's scores and mixtures.
    """

    weights: float
    scores: float = 0.0


def varedit(c: VAREditConfig, text_tokens: int) -> Forward:
    """VAREdit on source, all scales of the target, and a text of so many tokens."""
    C, Q, T = c.width, c.token_bits, text_tokens
    source = c.source_scales(c.scales)
    target = pyramid.tokens(c.scales)
    tokens = pyramid.tokens(source) + target
    # of an image token in a block: q, k, v and what joins the heads; q and the same of the
    # cross-attention; up and down
    block = tokens * (4 * C * C + 2 * C * C + 2 * C * c.mlp_hidden)
    block += T * 2 * C * C  # keys and values of the text
    text = T * (c.text_width * 2 * C + c.text_width * C + C * C) + C * C  # pool, up, down; its end
    modulation = C * 6 * C + C * 2 * C  # of the blocks and of the head, once a picture
    ends = (tokens - 1) * Q * C + target * C * 2 * Q  # embedding (not of the first), head
    pairs = (c.depth - 1) * _seen((*source, *c.scales)) + _seen_in_first_block(c)
    pairs += (c.depth * tokens + 1) * T  # cross-attention; the pool's one query
    return Forward(2 * (c.depth * block + text + modulation + ends), 2 * 2 * C * pairs)


def _seen(blocks: Scales) -> int:
    """Pairs in which a token sees its own block and all earlier ones."""
    return sum(h * w * pyramid.tokens(blocks[: k + 1]) for k, (h, w) in enumerate(blocks))


def _seen_in_first_block(c: VAREditConfig) -> int:
    """The same in block 0, where SAR shows each scale the source at the scale's own size."""
    source = pyramid.tokens(c.scales[-1:])
    if c.conditioning != "sar":
        return _seen((*c.source_scales(c.scales), *c.scales))
    return source * source + sum((h * w) ** 2 for h, w in c.scales) + _seen(c.scales)


def editar(c: EditARConfig) -> Forward:
    """EditAR or LlamaGen on a whole sequence; the codes of the target are predicted."""
    D, N = c.width, c.image_tokens
    tokens = c.prefix_tokens + N - 1  # nothing is predicted from the last one
    shared = c.groups * c.head_width  # width of the keys, and of the values
    # of a token in a block: q, k, v; what joins the heads; gate, up and down
    block = tokens * (D * (D + 2 * shared) + D * D + 3 * D * c.mlp_hidden)
    text = 0 if c.prefix == "class" else c.text_tokens * (c.text_width * D + D * D)
    head = N * D * c.codes
    pairs = tokens * (tokens + 1) / 2  # each sees itself and those before
    return Forward(2 * (c.layers * block + text + head), 2 * 2 * D * c.layers * pairs)


def align(c: EditARConfig) -> Forward:
    """EditAR's prediction of a teacher's features: one of each 2 x 2 tokens."""
    return Forward(2 * c.image_tokens * c.width * c.distill_width)


def t5(c: T5Config, tokens: int) -> Forward:
    """The text encoder: q, k, v, o; gate, up and down."""
    inner = c.heads * c.head_width
    block = tokens * (4 * c.width * inner + 3 * c.width * c.mlp_hidden)
    return Forward(2 * c.layers * block, 2 * 2 * c.layers * tokens * tokens * inner)


def vit(c: ViTConfig, side: int) -> Forward:
    """DINO on side x side patches: patches, q, k, v and what joins the heads, up and down."""
    D, tokens = c.width, side * side + 1  # and the class token
    patches = side * side * 3 * c.patch**2 * D
    block = tokens * (4 * D * D + 2 * D * c.mlp_hidden)
    return Forward(2 * (patches + c.layers * block), 2 * 2 * c.layers * tokens * tokens * D)


def image_encoder(c: BSQConfig | VQConfig, size: int) -> Forward:
    """A tokenizer on the pixels of a picture of size x size, to features or codes."""
    features = _sum(map(_layer, encoder_layers(c, size)))
    if isinstance(c, BSQConfig):
        return features
    positions = (size // c.stride) ** 2
    return _sum((features, Forward(2 * positions * c.code_width * c.codes)))  # each to each code


def image_decoder(c: BSQConfig | VQConfig, size: int) -> Forward:
    """A tokenizer's features to the pixels of a picture of size x size."""
    return _sum(map(_layer, decoder_layers(c, size)))


def vgg16(size: int) -> Forward:
    """LPIPS's network on a picture of size x size."""
    total, before = 0.0, 3
    for i, (channels, depth) in enumerate(STAGES):
        side = size >> i
        total += _conv(side, before, channels) + (depth - 1) * _conv(side, channels, channels)
        before = channels
    return Forward(total)


def discriminator(channels: int, size: int) -> Forward:
    """The PatchGAN on a picture of size x size: 4 x 4 convolutions, three of which halve."""
    total, before = 0.0, 3
    for i, side in enumerate((size // 2, size // 4, size // 8, size // 8 - 1)):
        total += _conv(side, before, channels << i, 4)
        before = channels << i
    return Forward(total + _conv(size // 8 - 2, before, 1, 4))


def _layer(layer: Layer) -> Forward:
    """One layer of an image tokenizer."""
    _, _, side, before, after, kernel = layer
    if layer.kind == "conv":
        return Forward(_conv(side, before, after, kernel))
    if layer.kind == "attention":  # q, k, v and proj, then scores and mixture
        return Forward(4 * _conv(side, before, after, 1), 2 * 2 * side**4 * after)
    skip = _conv(side, before, after, 1) if before != after else 0
    return Forward(_conv(side, before, after) + _conv(side, after, after) + skip)


def _conv(side: int, before: int, after: int, kernel: int = 3) -> float:
    """A convolution onto side x side positions."""
    return 2.0 * side * side * kernel * kernel * before * after


def _sum(parts: Iterable[Forward]) -> Forward:
    return Forward(*map(sum, zip(*parts, strict=True)))
