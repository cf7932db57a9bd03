"""PyTorch key map of the released BSQ tokenizers (`infinity_vae_*.pth`, under "vae").

Every convolution and norm sits in a wrapper module of its own, whose name (`.conv`, `.norm`) the
release's loader lets a file leave out.
"""

from collections.abc import Mapping

import numpy as np

from jaxedit.convert.keymaps import Rule, conv, from_torch, same
from jaxedit.tree import Tree

# Places with blocks, then single layers: regex of the PyTorch prefix, path prefix.
_BLOCKS = (
    (r"(encoder|decoder)\.(down|up)\.(\d+)\.block\.(\d+)", "{0}/{1}_{2}_block_{3}"),
    (r"(encoder|decoder)\.mid\.block_(\d+)", "{0}/mid_block_{1}"),
)
_CONVS = (
    *((rf"{key}\.conv([12])", f"{path}/conv{{{n}}}") for (key, path), n in zip(_BLOCKS, (4, 2))),
    *((rf"{key}\.nin_shortcut", f"{path}/shortcut") for key, path in _BLOCKS),
    (r"(encoder|decoder)\.(conv_in|conv_out)", "{0}/{1}"),
    (r"encoder\.down\.(\d+)\.downsample\.conv", "encoder/down_{0}_downsample"),
    (r"decoder\.up\.(\d+)\.upsample\.conv", "decoder/up_{0}_upsample/conv"),
)
_NORMS = (
    *((rf"{key}\.norm([12])", f"{path}/norm{{{n}}}") for (key, path), n in zip(_BLOCKS, (4, 2))),
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
