"""Key map of VGG16-LPIPS: torchvision's `features.N` and LPIPS's own `lin{i}.model.1`."""

import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.convert import safetensors
from jaxedit.convert.keymaps import Rule, conv, flat, from_torch, same
from jaxedit.models.lpips import LPIPS
from jaxedit.tree import Tree, flatten

# torchvision counts convolutions, ReLUs and poolings alike; the ReLUs and poolings have no weights.
_CONVS = (
    (0, 2),
    (5, 7),
    (10, 12, 14),
    (17, 19, 21),
    (24, 26, 28),
)
_PLACES = [(n, f"vgg/conv_{i}_{j}") for i, ns in enumerate(_CONVS) for j, n in enumerate(ns)]
RULES = (
    *(Rule(rf"features\.{n}\.weight", f"{path}/kernel", conv) for n, path in _PLACES),
    *(Rule(rf"features\.{n}\.bias", f"{path}/bias", same) for n, path in _PLACES),
    Rule(r"lin([0-4])\.model\.1\.weight", "weight_{0}", flat),
)
IGNORED = (r"classifier\..*",)


def params_from_torch(state: Mapping[str, np.ndarray]) -> Tree:
    """Parameters of `LPIPS` from one state dict that holds both networks.

    Raises:
      ValueError: keys that belong to neither.
    """
    return from_torch(state, RULES, IGNORED)


def read(path: pathlib.Path) -> Tree:
    """Parameters of `LPIPS`, f32, from a safetensors file with PyTorch's keys.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged, or its arrays are not those of the network.
    """
    shapes = safetensors.read_shapes(path)
    params = params_from_torch(safetensors.read(path, shapes))
    pixels = jnp.zeros((1, 32, 32, 3))
    expected = jax.eval_shape(LPIPS().init, rng.key_for(0, "init"), pixels, pixels)["params"]
    expected = {name: leaf.shape for name, leaf in flatten(expected).items()}
    found = {name: leaf.shape for name, leaf in flatten(params).items()}
    wrong = sorted(n for n in expected | found if expected.get(n) != found.get(n))
    if wrong:
        raise ValueError(f"{path}: missing or of another shape: {', '.join(wrong)}")
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
