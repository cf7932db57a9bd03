"""Key map and config of the released BSQ tokenizers (`infinity_vae_*.pth`, under "vae").

Each convolution and norm has a wrapper module, whose name (`.conv`, `.norm`) a file may leave out.
"""

from jaxedit.config import BSQConfig, require
from jaxedit.convert.keymaps.key_rules import KeyMap, conv, norm, renaming, under
from jaxedit.convert.sizes import Settings, Shapes, levels_of

_BLOCK = (
    *norm("norm1.norm", "norm1"),
    *conv("conv1.conv", "conv1"),
    *norm("norm2.norm", "norm2"),
    *conv("conv2.conv", "conv2"),
    *conv("nin_shortcut.conv", "shortcut"),
)
_HALF = (
    *conv("conv_in.conv", "conv_in"),
    *under("mid.block_{}.", "mid_block_{}/", _BLOCK),
    *norm("norm_out.norm", "norm_out"),
    *conv("conv_out.conv", "conv_out"),
)
_ENCODER = (
    *_HALF,
    *under("down.{}.block.{}.", "down_{}_block_{}/", _BLOCK),
    *conv("down.{}.downsample.conv.conv", "down_{}_downsample"),
)
_DECODER = (
    *_HALF,
    *under("up.{}.block.{}.", "up_{}_block_{}/", _BLOCK),
    *conv("up.{}.upsample.conv.conv", "up_{}_upsample/conv"),
)
_CONV = r"conv(?:_in|_out|1|2)|nin_shortcut|(?:down|up)sample\.conv"

KEYMAP = KeyMap(
    rules=(*under("encoder.", "encoder/", _ENCODER), *under("decoder.", "decoder/", _DECODER)),
    ignored=(r"quantizer?\.lfq\.mask",),  # powers of two, and their alias
    canonical=renaming(
        (rf"(.*\.(?:{_CONV}))\.(weight|bias)", r"\1.conv.\2"),
        (r"(.*\.norm(?:_out|1|2))\.(weight|bias)", r"\1.norm.\2"),
    ),
)


def config_of(shapes: Shapes, settings: Settings) -> BSQConfig:
    """Return the config of a tokenizer; shapes tell everything."""
    bits, outputs = shapes["decoder/conv_in/kernel"][2], shapes["encoder/conv_out/kernel"][3]
    require(bits == outputs, f"the encoder has {outputs} outputs for {bits} bits: expected as many")
    stride = 2 ** shapes.count("encoder/down_{}_downsample/kernel")
    return BSQConfig(bits=bits, stride=stride, **levels_of(shapes))
