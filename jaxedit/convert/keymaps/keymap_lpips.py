"""Key map and reader of VGG16-LPIPS: torchvision's `features.N` and LPIPS's `lin{i}.model.1`."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.checkpoints import safetensors_file
from jaxedit.convert.keymaps.key_rules import KeyMap, Layout, Rule, conv
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.models.lpips import LPIPS
from jaxedit.tree import Tree, flatten

# By block. torchvision numbers convolutions, ReLUs and poolings; only convolutions have weights.
_CONVS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_PLACES = [(n, f"vgg/conv_{i}_{j}") for i, ns in enumerate(_CONVS) for j, n in enumerate(ns)]

KEYMAP = KeyMap(
    rules=(
        *(rule for n, path in _PLACES for rule in conv(f"features.{n}", path)),
        Rule("lin{}.model.1.weight", "weight_{}", Layout((1,), 4)),
    ),
    ignored=(r"classifier\..*",),
)


def read(path: pathlib.Path) -> Tree:
    """Read the parameters of `LPIPS`, in f32, from a safetensors file with PyTorch's keys.

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
