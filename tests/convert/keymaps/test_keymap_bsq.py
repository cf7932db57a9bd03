import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from both_ways import assert_complete, assert_exact, blank, made_shapes, shapes_of

from jaxedit.config import PRESETS
from jaxedit.convert.keymaps.keymap import assemble, from_torch
from jaxedit.convert.keymaps.keymap_bsq import KEYMAP
from jaxedit.models.bsq import BSQTokenizer

MODELS = [("d32_f16 (2B)", "2b", 110_118_051), ("d14_f8_patchify (8B)", "8b", 81_624_209)]
MASKS = {"quantize.lfq.mask", "quantizer.lfq.mask"}


@pytest.fixture
def published(golden):
    """The published shapes by key and by name."""
    return {name: model["keys"] for name, model in golden("bsq_tokenizer_state_dict")[1].items()}


def expected_shapes(config):
    pixels = jnp.zeros((1, 2 * config.stride, 2 * config.stride, 3))
    return made_shapes(
        lambda key: BSQTokenizer(config).init(key, pixels)["params"], jax.random.key(0)
    )


@pytest.mark.parametrize("name, preset, count", MODELS)
def test_published_keys_are_complete_both_ways(published, name, preset, count):
    expected = expected_shapes(PRESETS[preset].bsq)
    assert_complete(KEYMAP, published[name], expected, ignored=MASKS)
    sizes = {path: math.prod(shape) for path, shape in expected.items()}
    assert sum(sizes.values()) == count
    encoder = sum(size for path, size in sizes.items() if path.startswith("encoder/"))
    assert encoder == {"2b": 45_025_696, "8b": 33_139_598}[preset]


def test_exact_both_ways():
    config = PRESETS["2b"].bsq
    config = dataclasses.replace(config, bits=4, base_channels=32, channel_mult=(1, 2), stride=2)
    assert_exact(KEYMAP, expected_shapes(config))


def test_wrapper_names_may_be_missing(published):
    state = blank(published[MODELS[1][0]])
    bare = {k.replace(".conv.w", ".w").replace(".conv.b", ".b"): v for k, v in state.items()}
    bare = {k.replace(".norm.", "."): v for k, v in bare.items()}
    assert "decoder.up.1.upsample.conv.bias" in bare and "encoder.norm_out.weight" in bare
    assert shapes_of(assemble(KEYMAP, bare)) == shapes_of(assemble(KEYMAP, state))


def test_kernels_are_transposed():
    kernel = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3)
    params = from_torch(KEYMAP, {"encoder.conv_in.conv.weight": kernel})
    assert params["encoder"]["conv_in"]["kernel"][1, 2, 0, 1] == kernel[1, 0, 1, 2]


def test_foreign_keys_are_errors():
    state = {"encoder.conv_in.conv.bias": np.zeros(3), "perceptual_model.net.weight": np.zeros(3)}
    with pytest.raises(ValueError, match="unexpected keys: perceptual_model.net.weight"):
        assemble(KEYMAP, state)
