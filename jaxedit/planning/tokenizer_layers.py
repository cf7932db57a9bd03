"""Sizes of the image tokenizers' layers, for counting operations and memory."""

from typing import Literal, NamedTuple

from jaxedit.config import BSQConfig, VQConfig
from jaxedit.models.autoencoder import sizes_of


class Layer(NamedTuple):
    """A convolution, a residual block or an attention block, on square grids."""

    kind: Literal["conv", "block", "attention"]
    side_in: int
    side_out: int
    channels_in: int
    channels_out: int
    kernel: int = 3  # side of its convolutions


def encoder_layers(c: BSQConfig | VQConfig, size: int) -> list[Layer]:
    """List the layers from size x size pixels to features; of VQ to the vectors to quantise."""
    sizes = sizes_of(c)
    widths, attends, channels = sizes.widths, sizes.has_attention, sizes.channels
    side, before = size, sizes.base_channels
    found = [Layer("conv", side, side, 3, before)]
    for i, width in enumerate(widths):
        is_last = i == len(widths) - 1
        found += _blocks(side, before, width, sizes.res_blocks, attends and is_last)
        if i < sizes.halvings:
            found.append(Layer("conv", side, side // 2, width, width))
            side //= 2
        before = width
    found += [*_middle(side, before, attends), Layer("conv", side, side, before, channels)]
    if isinstance(c, VQConfig):
        found.append(Layer("conv", side, side, channels, c.code_width, kernel=1))
    return found


def decoder_layers(c: BSQConfig | VQConfig, size: int) -> list[Layer]:
    """List the layers from features to size x size pixels; each level has an additional block."""
    sizes = sizes_of(c)
    widths, attends, channels = sizes.widths, sizes.has_attention, sizes.channels
    side, before = size >> sizes.halvings, widths[-1]
    found = [Layer("conv", side, side, channels, before), *_middle(side, before, attends)]
    if isinstance(c, VQConfig):
        found.insert(0, Layer("conv", side, side, c.code_width, channels, kernel=1))
    for i in reversed(range(len(widths))):
        is_last = i == len(widths) - 1
        found += _blocks(side, before, widths[i], sizes.res_blocks + 1, attends and is_last)
        before = widths[i]
        if 1 <= i <= sizes.halvings:  # pixels are repeated before the convolution
            side *= 2
            found.append(Layer("conv", side, side, before, before))
    return [*found, Layer("conv", side, side, before, 3)]


def _blocks(side: int, before: int, width: int, count: int, attends: bool) -> list[Layer]:
    """List the residual blocks of a level; the first changes the width."""
    attention = [Layer("attention", side, side, width, width)] if attends else []
    found = []
    for read in (before, *[width] * (count - 1)):
        found += [Layer("block", side, side, read, width), *attention]
    return found


def _middle(side: int, width: int, attends: bool) -> list[Layer]:
    return _blocks(side, width, width, 1, attends) + _blocks(side, width, width, 1, False)
