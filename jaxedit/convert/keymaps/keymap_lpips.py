"""Key map, config and reader of LPIPS: torchvision's `features.N`, LPIPS's `lin{i}.model.1`.

The release has two files: the backbone, and the weights of the distances.
"""

import pathlib
from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.checkpoints import safetensors_file
from jaxedit.config import LPIPSConfig
from jaxedit.convert.keymaps.key_rules import KeyMap, Layout, Rule, conv
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.sizes import Settings, Shapes
from jaxedit.models.lpips import LPIPS
from jaxedit.tree import Tree, flatten

# By block. torchvision numbers convolutions, ReLUs and poolings; only convolutions have weights.
_CONVS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_VGG = [(n, f"vgg/conv_{i}_{j}") for i, ns in enumerate(_CONVS) for j, n in enumerate(ns)]
_FIRE = "features.3.squeeze.weight"  # only SqueezeNet has it
# Both backbones call their first convolution features.0.
_SQUEEZE_FIRST = {f"features.0.{kind}": f"squeeze.0.{kind}" for kind in ("weight", "bias")}


def _canonical(keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    return {key: (name,) for key, name in _SQUEEZE_FIRST.items() if _FIRE in keys}


KEYMAP = KeyMap(
    rules=(
        *(rule for n, path in _VGG for rule in conv(f"features.{n}", path)),
        *conv("squeeze.0", "squeeze/conv"),
        *conv("features.{}.squeeze", "squeeze/fire_{}/squeeze"),
        *conv("features.{}.expand1x1", "squeeze/fire_{}/expand1x1"),
        *conv("features.{}.expand3x3", "squeeze/fire_{}/expand3x3"),
        Rule("lin{}.model.1.weight", "weight_{}", Layout((1,), 4)),
    ),
    ignored=(r"classifier\..*",),
    canonical=_canonical,
    published=lambda names: {name: key for key, name in _SQUEEZE_FIRST.items() if name in names},
)


def config_of(shapes: Shapes, settings: Settings) -> LPIPSConfig:
    """Return the config of the network that a file, or both files, belong to."""
    is_squeeze = "squeeze/conv/kernel" in shapes or "weight_5" in shapes  # VGG16 has 5 stages
    return LPIPSConfig(backbone="squeeze" if is_squeeze else "vgg")


def read(path: pathlib.Path) -> Tree:
    """Read VGG16-LPIPS in f32 from a safetensors file with PyTorch's keys.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged, or its arrays do not fit the network.
    """
    state = safetensors_file.read_parameters(path)
    pixels = jnp.zeros((1, 32, 32, 3))
    expected = jax.eval_shape(LPIPS().init, rng.key_for(0, "init"), pixels, pixels)["params"]
    shapes = {name: leaf.shape for name, leaf in flatten(expected).items()}
    try:
        params = from_torch(KEYMAP, state, shapes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
