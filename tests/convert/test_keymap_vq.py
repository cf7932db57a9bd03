import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.config import VQConfig
from jaxedit.convert.keymap_vq import KEYMAP
from jaxedit.convert.keymaps import from_torch
from jaxedit.models.vqgan import VQTokenizer


def published(golden):
    """The published keys, with arrays of the right shapes that take no memory."""
    _, keys = golden("vq16_state_dict")
    return {k: np.broadcast_to(np.float32(0), shape) for k, shape in keys.items()}


def expected(config):
    pixels = jnp.zeros((1, config.stride, config.stride, 3))
    return jax.eval_shape(VQTokenizer(config).init, rng.key_for(0, "init"), pixels)["params"]


def shapes(params):
    return {path: leaf.shape for path, leaf in tree.flatten(params).items()}


def test_published_keys_fill_the_model(golden):
    params = from_torch(KEYMAP, published(golden))
    assert shapes(params) == shapes(expected(VQConfig()))
    assert tree.count(params) == 71_883_403
    assert tree.count(params["encoder"]) == 29_298_176
    assert tree.count(params["decoder"]) == 42_449_795


def test_size_of_vq8():
    assert tree.count(expected(VQConfig(channel_mult=(1, 2, 2, 4)))) == 70_109_835


def test_layers_are_transposed_and_named():
    kernel = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3)
    params = from_torch(
        KEYMAP,
        {
            "decoder.conv_blocks.0.res.1.nin_shortcut.weight": kernel,
            "decoder.conv_blocks.0.attn.1.proj_out.bias": np.ones(2),
            "encoder.mid.2.norm1.weight": np.ones(3),
            "quantize.codebook_used": np.zeros(4),
        },
    )
    assert params["decoder"]["up_0_block_1"]["shortcut"]["kernel"][1, 2, 0, 1] == kernel[1, 0, 1, 2]
    assert shapes(params) == {
        "decoder/up_0_block_1/shortcut/kernel": (3, 3, 3, 2),
        "decoder/up_0_attn_1/proj/bias": (2,),
        "encoder/mid_block_2/norm1/scale": (3,),
    }


def test_foreign_keys_are_errors():
    state = {"quant_conv.bias": np.zeros(8), "encoder.mid.3.norm.bias": np.zeros(3)}
    with pytest.raises(ValueError, match="unexpected keys: encoder.mid.3.norm.bias"):
        from_torch(KEYMAP, state)
