import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.config import PRESETS
from jaxedit.convert.keymap_bsq import KEYMAP
from jaxedit.convert.keymaps import from_torch
from jaxedit.models.bsq import BSQTokenizer

MODELS = [("d32_f16 (2B)", "2b", 110_118_051), ("d14_f8_patchify (8B)", "8b", 81_624_209)]


def published(golden, name):
    """The published keys, with arrays of the right shapes that take no memory."""
    _, models = golden("bsq_tokenizer_state_dict")
    return {k: np.broadcast_to(np.float32(0), s) for k, s in models[name]["keys"].items()}


def shapes(params):
    return {path: leaf.shape for path, leaf in tree.flatten(params).items()}


@pytest.mark.parametrize("name, preset, count", MODELS)
def test_published_keys_fill_the_model(golden, name, preset, count):
    params = from_torch(KEYMAP, published(golden, name))
    model = BSQTokenizer(PRESETS[preset].bsq)
    pixels = jnp.zeros((1, 64, 64, 3))
    expected = jax.eval_shape(model.init, rng.key_for(0, "init"), pixels)["params"]
    assert shapes(params) == shapes(expected)
    assert tree.count(params) == count
    halves = {"2b": (45_025_696, 65_092_355), "8b": (33_139_598, 48_484_611)}[preset]
    assert (tree.count(params["encoder"]), tree.count(params["decoder"])) == halves


def test_wrapper_names_may_be_missing(golden):
    state = published(golden, MODELS[1][0])
    bare = {k.replace(".conv.w", ".w").replace(".conv.b", ".b"): v for k, v in state.items()}
    bare = {k.replace(".norm.", "."): v for k, v in bare.items()}
    assert bare.keys() != state.keys()
    assert shapes(from_torch(KEYMAP, bare)) == shapes(from_torch(KEYMAP, state))


def test_kernels_are_transposed():
    kernel = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3)
    params = from_torch(KEYMAP, {"encoder.conv_in.conv.weight": kernel})
    assert params["encoder"]["conv_in"]["kernel"][1, 2, 0, 1] == kernel[1, 0, 1, 2]


def test_foreign_keys_are_errors():
    state = {"encoder.conv_in.conv.bias": np.zeros(3), "perceptual_model.net.weight": np.zeros(3)}
    with pytest.raises(ValueError, match="unexpected keys: perceptual_model.net.weight"):
        from_torch(KEYMAP, state)
