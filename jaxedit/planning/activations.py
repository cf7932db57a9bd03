"""Estimates of the memory for activations, network by network, from the sizes in the configs.

In inference, elementwise operations are assumed to be fused into the operation that reads their
result. In memory are then operands and results of products and convolutions, and the residual
stream in f32. Attention without a kernel holds the scores of at most `MAX_SCORES` pairs of tokens
per head at once; with a kernel it needs less. The constants for blocks in training are fitted to
the memory plans of XLA.

Estimates, with the compiler's own plan in brackets:

- One v5e, bfloat16, in MB (libtpu): the 2B's text 132 (139), its source 328 (291), the last scale
  387 (72, with a kernel); EditAR's image prefix 403 (465), decoder 403 (422).
- A whole edit by the 2B at 512 px: 7.1 GB with weights and caches (libtpu's program: at most
  7.7 GB, 8.9 GB of heap).
- Training in float32 for remat none, cheap and all, in MB per pair (XLA:CPU): var_sar.py:tiny 28.3
  (27.2), 8.5 (10.9), 3.4 (7.7); editar.py:tiny 24.5 (32.9), 11.2 (13.0), 3.7 (7.3);
  tokenizer_bsq.py:tiny 30 (37).

All functions return bytes per sample. `itemsize` is the number of bytes of an operand of a product.
"""

from jaxedit.config import BSQConfig, EditARConfig, Scales, T5Config, VAREditConfig, VQConfig
from jaxedit.models.lpips import STAGES
from jaxedit.nn.attention import CAUSAL_BLOCKS
from jaxedit.nn.kernels import MAX_SCORES
from jaxedit.ops import pyramid
from jaxedit.planning.tokenizer_layers import Layer, decoder_layers, encoder_layers

F32 = 4
_AT_WORK = 0.6  # share of a block's saved activations in memory during its backward pass; fitted


def t5(c: T5Config, tokens: int, itemsize: int) -> int:
    """Estimate the text encoder: the position bias, and the scores or the MLP of a layer."""
    pairs = c.heads * tokens * tokens
    scores = pairs * (2 * F32 + itemsize) + 3 * tokens * c.heads * c.head_width * itemsize
    mlp = 3 * tokens * c.mlp_hidden * itemsize
    return 2 * tokens * c.width * F32 + pairs * F32 + max(scores, mlp)


def image_encoder(c: BSQConfig | VQConfig, size: int) -> int:
    """Estimate a tokenizer's encoder on size x size pixels, to features or codes, in f32."""
    found = max(map(_layer, encoder_layers(c, size))) * F32
    if isinstance(c, BSQConfig):
        return found
    return max(found, (size // c.stride) ** 2 * c.codes * F32)  # distances to all codes


def image_decoder(c: BSQConfig | VQConfig, size: int) -> int:
    """Estimate a tokenizer's decoder to size x size pixels, in f32."""
    return max(map(_layer, decoder_layers(c, size))) * F32


def _layer(layer: Layer) -> int:
    """Count the numbers in memory while a layer of a tokenizer runs."""
    read, made = layer.side_in**2 * layer.channels_in, layer.side_out**2 * layer.channels_out
    if layer.kind == "conv":
        return read + made
    scores = layer.side_out**4 if layer.kind == "attention" else 0
    # Beside the skip connection: the normalised input, or the result.
    return max(2 * read + made, read + 2 * made) + scores


def varedit_block(c: VAREditConfig, tokens: int, seen: int, itemsize: int, tensor: int = 1) -> int:
    """Estimate a block of VAREdit in inference, on new tokens that each attend to `seen` tokens.

    `tensor` devices share its heads and hidden units; each has the whole residual stream.
    """
    attention = 5 * itemsize * c.width + 2 * F32 * c.width  # q, k, v; normalised q and k
    mlp = 2 * itemsize * c.mlp_hidden
    pairs = min(tokens * seen, MAX_SCORES)
    most = max(attention, mlp) // tensor
    return _block(c.width, tokens, most, c.heads // tensor * pairs, itemsize)


def editar_block(c: EditARConfig, tokens: int, seen: int, itemsize: int, tensor: int = 1) -> int:
    """Estimate a block of EditAR in inference, on a causal sequence of `seen` tokens in the end.

    `tensor` is as for `varedit_block`.
    """
    attention = 3 * itemsize * c.width + 2 * F32 * c.width
    mlp = 3 * itemsize * c.mlp_hidden
    pairs = min(-(-tokens // CAUSAL_BLOCKS) * seen, MAX_SCORES)
    most = max(attention, mlp) // tensor
    return _block(c.width, tokens, most, c.heads // tensor * pairs, itemsize)


def _block(width: int, tokens: int, most: int, pairs: int, itemsize: int) -> int:
    """Add up a block's residual stream of D = `width`, attention or MLP, and scores.

    `most` is the bytes per token of attention or MLP, whichever is larger; `pairs` counts the pairs
    of query and key in memory at once, over all heads.
    """
    stream = 2 * F32 * width + itemsize * width
    return tokens * (stream + most) + pairs * (2 * F32 + itemsize)


def varedit_training(c: VAREditConfig, text_tokens: int, itemsize: int, remat: str) -> int:
    """Estimate what VAREdit saves for the backward pass, and the backward pass of a block."""
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
    """Estimate what EditAR saves for the backward pass, and the backward pass of a block."""
    tokens, shared = c.prefix_tokens + c.image_tokens - 1, c.groups * c.head_width
    pairs = tokens * tokens * (CAUSAL_BLOCKS + 1) // (2 * CAUSAL_BLOCKS)  # by blocks of queries
    whole = tokens * (6 * F32 * c.width + itemsize * (11 * c.width + 4 * c.mlp_hidden))
    whole += c.heads * pairs * (F32 + itemsize)
    # qkv, proj; gate, up and down
    products = tokens * itemsize * (3 * c.width + 2 * shared + 2 * c.mlp_hidden)
    return _kept(c.layers, tokens * c.width * F32, products, whole, remat)


def t5_training(c: T5Config, tokens: int, itemsize: int) -> int:
    """Estimate what the text encoder saves for the backward pass, without remat."""
    inner = c.heads * c.head_width
    numbers = 4 * inner + 2 * c.width + 4 * c.mlp_hidden
    whole = tokens * (6 * F32 * c.width + itemsize * numbers)
    return c.layers * (whole + c.heads * tokens * tokens * (F32 + itemsize))


def _kept(layers: int, stream: int, products: int, whole: int, remat: str) -> int:
    """Add up what all layers save for the backward pass, and the backward pass of a block.

    The bytes of a block are: `stream`, its input; `products`, its products with weights; `whole`,
    everything that its backward pass reads. `remat` is as for `nn.layers.rematerialised`.
    """
    kept = {"all": stream, "cheap": stream + products, "none": whole}[remat]
    return layers * kept + (remat != "none") * int(_AT_WORK * whole)


def _kept_pairs(blocks: Scales) -> int:
    """Count the pairs of tokens whose scores are saved: in blocks attended without chunks."""
    pairs = (h * w * pyramid.tokens(blocks[: k + 1]) for k, (h, w) in enumerate(blocks))
    return sum(n for n in pairs if n <= MAX_SCORES)


def tokenizer_training(c: BSQConfig | VQConfig, size: int, itemsize: int, *, remat: bool) -> int:
    """Estimate what a tokenizer saves for the backward pass, of its encoder (in f32) and decoder.

    `itemsize` is for the decoder. With `remat` only the inputs of blocks are saved.
    """
    kept = 2 * image_decoder(c, size)
    for layers, nbytes in ((encoder_layers(c, size), F32), (decoder_layers(c, size), itemsize)):
        for layer in layers:
            read = layer.side_in**2 * layer.channels_in
            made = layer.side_out**2 * layer.channels_out
            is_whole = layer.kind != "conv" and not remat
            kept += nbytes * (3 * (read + made) if is_whole else read)
    return kept


def vgg16_training(size: int) -> int:
    """Estimate LPIPS's features of an image and of its reconstruction."""
    sides = (size >> i for i in range(len(STAGES)))
    stages = zip(sides, STAGES, strict=True)
    return 2 * F32 * sum(side * side * channels * depth for side, (channels, depth) in stages)


def discriminator_training(channels: int, size: int) -> int:
    """Estimate three passes of the PatchGAN, with the inputs of norms and activations."""
    levels = range(3)
    return 3 * 3 * F32 * sum((size >> i + 1) ** 2 * (channels << i) for i in levels)
