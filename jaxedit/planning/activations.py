"""The memory that a network needs on its way, by formulas of the sizes in its config: estimates.

In inference, what works element by element is taken to be fused into what reads it: in memory are
operands and results of products and convolutions, and the f32 residual stream. Attention has the
scores of at most `MAX_SCORES` pairs of tokens per head at once, as without a kernel; where a kernel
is called, it needs less. The numbers of the blocks in training are fitted to XLA's own plans.

Beside what libtpu plans for one v5e in bfloat16 (MB): the 2B's text 132 (139), its source 328
(291), the last scale 387 (72, by a kernel); EditAR's picture 403 (465), drawing 403 (422). A whole
edit by the 2B at 512 px: 7.1 GB with weights and caches; libtpu's program 7.7 GB at most, 8.9 GB of
heap. Beside XLA:CPU, training in float32 (MB a pair): var_sar.py:tiny 28.3 (27.2), cheap 8.5
(10.9), all 3.4 (7.7); editar.py:tiny 24.5 (32.9), 11.2 (13.0), 3.7 (7.3); tokenizer_bsq.py:tiny 30
(37).

All functions return bytes of one sample. `itemsize` is that of the numbers in products, in bytes.
"""

from jaxedit.config import BSQConfig, EditARConfig, Scales, T5Config, VAREditConfig, VQConfig
from jaxedit.models.lpips import STAGES
from jaxedit.nn.attention import CAUSAL_BLOCKS
from jaxedit.nn.kernels import MAX_SCORES
from jaxedit.ops import pyramid
from jaxedit.planning.tokenizer_layers import Layer, decoder_layers, encoder_layers

F32 = 4
_AT_WORK = 0.6  # share of what a block's backward pass reads that is in memory at once


def t5(c: T5Config, tokens: int, itemsize: int) -> int:
    """The text encoder: the position bias, and a layer's scores or its MLP."""
    pairs = c.heads * tokens * tokens
    scores = pairs * (2 * F32 + itemsize) + 3 * tokens * c.heads * c.head_width * itemsize
    mlp = 3 * tokens * c.mlp_hidden * itemsize
    return 2 * tokens * c.width * F32 + pairs * F32 + max(scores, mlp)


def image_encoder(c: BSQConfig | VQConfig, size: int) -> int:
    """A tokenizer on size x size pixels, to features or codes, in f32."""
    found = max(map(_layer, encoder_layers(c, size))) * F32
    if isinstance(c, BSQConfig):
        return found
    return max(found, (size // c.stride) ** 2 * c.codes * F32)  # distances to all codes


def image_decoder(c: BSQConfig | VQConfig, size: int) -> int:
    """A tokenizer's features to size x size pixels, in f32."""
    return max(map(_layer, decoder_layers(c, size))) * F32


def _layer(layer: Layer) -> int:
    """Numbers in memory while one layer of a tokenizer runs."""
    read, made = layer.reads**2 * layer.before, layer.side**2 * layer.after
    if layer.kind == "conv":
        return read + made
    scores = layer.side**4 if layer.kind == "attention" else 0
    return max(2 * read + made, read + 2 * made) + scores  # beside the skip: the norm, the result


def varedit_block(c: VAREditConfig, tokens: int, seen: int, itemsize: int) -> int:
    """A block of VAREdit in inference, on new tokens of which each sees so many."""
    attention = 5 * itemsize * c.width + 2 * F32 * c.width  # q, k, v; q and k of length one
    mlp = 2 * itemsize * c.mlp_hidden
    pairs = min(tokens * seen, MAX_SCORES)
    return _block(c.width, tokens, max(attention, mlp), c.heads * pairs, itemsize)


def editar_block(c: EditARConfig, tokens: int, seen: int, itemsize: int) -> int:
    """A block of EditAR in inference, on a causal sequence that sees so many tokens in the end."""
    attention = 3 * itemsize * c.width + 2 * F32 * c.width
    mlp = 3 * itemsize * c.mlp_hidden
    pairs = min(-(-tokens // CAUSAL_BLOCKS) * seen, MAX_SCORES)
    return _block(c.width, tokens, max(attention, mlp), c.heads * pairs, itemsize)


def _block(width: int, tokens: int, most: int, pairs: int, itemsize: int) -> int:
    """The stream before and after and what is read of it; the larger part; logits and weights."""
    stream = 2 * F32 * width + itemsize * width
    return tokens * (stream + most) + pairs * (2 * F32 + itemsize)


def varedit_training(c: VAREditConfig, text_tokens: int, itemsize: int, remat: str) -> int:
    """What VAREdit's backward pass needs of its forward pass, and the pass through a block."""
    source = c.source_scales(c.scales)
    tokens = pyramid.tokens((*source, *c.scales))
    pairs = _kept_pairs((*source, *c.scales))
    pairs += tokens * text_tokens if tokens * text_tokens <= MAX_SCORES else 0
    whole = tokens * (10 * F32 * c.width + itemsize * (24 * c.width + 5 * c.mlp_hidden))
    whole += c.heads * pairs * (F32 + itemsize)
    # qkv, proj; q and proj of the cross-attention; up and down
    products = tokens * itemsize * (7 * c.width + c.mlp_hidden)
    return _kept(c.depth, tokens * c.width * F32, products, whole, remat)


def editar_training(c: EditARConfig, itemsize: int, remat: str) -> int:
    """What EditAR's backward pass needs of its forward pass, and the pass through a block."""
    tokens, shared = c.prefix_tokens + c.image_tokens - 1, c.groups * c.head_width
    pairs = tokens * tokens * (CAUSAL_BLOCKS + 1) // (2 * CAUSAL_BLOCKS)  # by blocks of queries
    whole = tokens * (6 * F32 * c.width + itemsize * (11 * c.width + 4 * c.mlp_hidden))
    whole += c.heads * pairs * (F32 + itemsize)
    # qkv, proj; gate, up and down
    products = tokens * itemsize * (3 * c.width + 2 * shared + 2 * c.mlp_hidden)
    return _kept(c.layers, tokens * c.width * F32, products, whole, remat)


def t5_training(c: T5Config, tokens: int, itemsize: int) -> int:
    """What the text encoder's backward pass needs of its forward pass: everything."""
    inner = c.heads * c.head_width
    numbers = 4 * inner + 2 * c.width + 4 * c.mlp_hidden
    whole = tokens * (6 * F32 * c.width + itemsize * numbers)
    return c.layers * (whole + c.heads * tokens * tokens * (F32 + itemsize))


def _kept(layers: int, stream: int, products: int, whole: int, remat: str) -> int:
    """Of all layers, what is not computed again; and a block at work.

    Args:
      layers: how many.
      stream: bytes of what a block reads.
      products: of the results of products with weights.
      whole: of everything that the backward pass of a block reads.
      remat: see `nn.layers.rematerialised`.
    """
    kept = {"all": stream, "cheap": stream + products, "none": whole}[remat]
    return layers * kept + (remat != "none") * int(_AT_WORK * whole)


def _kept_pairs(blocks: Scales) -> int:
    """Pairs of tokens whose scores are kept: of blocks that take the plain form."""
    pairs = (h * w * pyramid.tokens(blocks[: k + 1]) for k, (h, w) in enumerate(blocks))
    return sum(n for n in pairs if n <= MAX_SCORES)


def tokenizer_training(c: BSQConfig | VQConfig, size: int, itemsize: int, *, remat: bool) -> int:
    """What the backward pass of a tokenizer needs of its encoder, in f32, and decoder.

    Args:
      c: sizes.
      size: of a picture, in pixels.
      itemsize: of the decoder.
      remat: keep only what blocks read, not all that they compute.
    """
    kept = 2 * image_decoder(c, size)
    for layers, nbytes in ((encoder_layers(c, size), F32), (decoder_layers(c, size), itemsize)):
        for layer in layers:
            read, made = layer.reads**2 * layer.before, layer.side**2 * layer.after
            is_whole = layer.kind != "conv" and not remat
            kept += nbytes * (3 * (read + made) if is_whole else read)
    return kept


def vgg16_training(size: int) -> int:
    """LPIPS's features of a picture and of its reconstruction."""
    sides = (size >> i for i in range(len(STAGES)))
    stages = zip(sides, STAGES, strict=True)
    return 2 * F32 * sum(side * side * channels * depth for side, (channels, depth) in stages)


def discriminator_training(channels: int, size: int) -> int:
    """Three scores of the PatchGAN, with what norms and activations read."""
    levels = range(3)
    return 3 * 3 * F32 * sum((size >> i + 1) ** 2 * (channels << i) for i in levels)
