"""PyTorch key map of the released BSQ tokenizers (`infinity_vae_*.pth`, under "vae").

Every convolution and norm sits in a wrapper module of its own, whose name (`.conv`, `.norm`) the
release's loader lets a file leave out.
"""

from collections.abc import Mapping

import numpy as np

from jaxedit.convert.keymaps import Rule, conv, from_torch, same
from jaxedit.tree import Tree

# Layers: regex of the PyTorch prefix, path.
_BLOCK = (r"(encoder|decoder)\.(down|up)\.(\d+)\.block\.(\d+)", "{0}/{1}_{2}_block_{3}")
_MID = (r"(encoder|decoder)\.mid\.block_(\d+)", "{0}/mid_block_{1}")
_CONVS = (
    (rf"{_BLOCK[0]}\.conv([12])", f"{_BLOCK[1]}/conv{{4}}"),
    (rf"{_BLOCK[0]}\.nin_shortcut", f"{_BLOCK[1]}/shortcut"),
    (rf"{_MID[0]}\.conv([12])", f"{_MID[1]}/conv{{2}}"),
    (r"(encoder|decoder)\.(conv_in|conv_out)", "{0}/{1}"),
    (r"encoder\.down\.(\d+)\.downsample\.conv", "encoder/down_{0}_downsample"),
    (r"decoder\.up\.(\d+)\.upsample\.conv", "decoder/up_{0}_upsample/conv"),
)
_NORMS = (
    (rf"{_BLOCK[0]}\.norm([12])", f"{_BLOCK[1]}/norm{{4}}"),
    (rf"{_MID[0]}\.norm([12])", f"{_MID[1]}/norm{{2}}"),
    (r"(encoder|decoder)\.norm_out", "{0}/norm_out"),
)
RULES = (
    *(Rule(rf"{key}(?:\.conv)?\.weight", f"{path}/kernel", conv) for key, path in _CONVS),
    *(Rule(rf"{key}(?:\.conv)?\.bias", f"{path}/bias", same) for key, path in _CONVS),
    *(Rule(rf"{key}(?:\.norm)?\.weight", f"{path}/scale", same) for key, path in _NORMS),
    *(Rule(rf"{key}(?:\.norm)?\.bias", f"{path}/bias", same) for key, path in _NORMS),
)
IGNORED = (r"quantize(r)?\.lfq\.mask",)  # powers of two, and their alias


def params_from_torch(state: Mapping[str, np.ndarray]) -> Tree:
    """Parameters of `BSQTokenizer` from the release's state dict.

    Raises:
      ValueError: keys that belong to no layer of the tokenizer.
    """
    return from_torch(state, RULES, IGNORED)
