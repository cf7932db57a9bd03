import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from both_ways import assert_complete, assert_exact, made_shapes, shapes_of

from jaxedit import tree
from jaxedit.config import VQConfig
from jaxedit.convert.keymaps.keymap import assemble, from_torch
from jaxedit.convert.keymaps.keymap_vq import KEYMAP
from jaxedit.models.vq import VQTokenizer


def expected_shapes(config):
    pixels = jnp.zeros((1, config.stride, config.stride, 3))
    return made_shapes(
        lambda key: VQTokenizer(config).init(key, pixels)["params"], jax.random.key(0)
    )


def count(shapes, prefix=""):
    return sum(math.prod(shape) for path, shape in shapes.items() if path.startswith(prefix))


def test_published_keys_are_complete_both_ways(golden):
    _, published = golden("vq16_state_dict")
    expected = expected_shapes(VQConfig())
    assert_complete(KEYMAP, published, expected, ignored={"quantize.codebook_used"})
    assert count(expected) == 71_883_403
    assert (count(expected, "encoder/"), count(expected, "decoder/")) == (29_298_176, 42_449_795)


def test_size_of_vq8():
    assert count(expected_shapes(VQConfig(channel_mult=(1, 2, 2, 4)))) == 70_109_835


def test_exact_both_ways():
    config = VQConfig(
        codes=20, code_width=4, base_channels=32, channel_mult=(1, 2), latent_width=24
    )
    assert_exact(KEYMAP, expected_shapes(config))


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
    assert shapes_of(tree.flatten(params)) == {
        "decoder/up_0_block_1/shortcut/kernel": (3, 3, 3, 2),
        "decoder/up_0_attn_1/proj/bias": (2,),
        "encoder/mid_block_2/norm1/scale": (3,),
    }


def test_foreign_keys_are_errors():
    state = {"quant_conv.bias": np.zeros(8), "encoder.mid.3.norm.bias": np.zeros(3)}
    with pytest.raises(ValueError, match="unexpected keys: encoder.mid.3.norm.bias"):
        assemble(KEYMAP, state)
