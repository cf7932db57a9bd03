import gzip
import json
import pathlib

import jax
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import PRESETS
from jaxedit.convert.keymap_varedit import KEYMAP
from jaxedit.convert.keymaps import from_torch
from jaxedit.models.varedit import init_params

PUBLISHED = pathlib.Path(__file__).parents[1] / "golden/varedit_transformer_state_dict.json.gz"
NOTHING = np.dtype([])  # elements of zero bytes: shapes without memory


@pytest.mark.parametrize("name", ["2b", "8b"])
def test_published_keys_fill_every_parameter(name):
    published = json.loads(gzip.decompress(PUBLISHED.read_bytes()))[name]
    state = {key: np.zeros(shape, NOTHING) for key, shape in published["shapes"].items()}
    shapes = {path: leaf.shape for path, leaf in tree.flatten(from_torch(KEYMAP, state)).items()}
    config = PRESETS[name].varedit
    expected = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    assert shapes == {path: leaf.shape for path, leaf in tree.flatten(expected).items()}
    assert tree.count(from_torch(KEYMAP, state)) == published["num_parameters"]


def test_chunked_and_plain_layers_are_the_same():
    bias = [np.full(2, n, np.float32) for n in range(5)]
    chunked = {f"block_chunks.{n // 2}.module.{n % 2}.sa.q_bias": bias[n] for n in range(5)}
    plain = {f"blocks.{n}.sa.q_bias": bias[n] for n in range(5)}
    for state in (chunked, plain):
        flat = tree.flatten(from_torch(KEYMAP, state))
        np.testing.assert_array_equal(flat["first_block/attn/q_bias"], [0, 0])
        np.testing.assert_array_equal(flat["blocks/attn/q_bias"][:, 0], [1, 2, 3, 4])


def test_tables_and_zero_biases_are_dropped():
    state = {"lvl_1L": np.zeros(3), "blocks.0.sa.zero_k_bias": np.zeros(2)}
    assert from_torch(KEYMAP, state) == {}


def test_unknown_keys_and_missing_layers_are_errors():
    with pytest.raises(ValueError, match="unexpected keys: blocks.0.sa.gamma, extra"):
        from_torch(KEYMAP, {"extra": np.zeros(1), "blocks.1.sa.gamma": np.zeros(1)})
    with pytest.raises(ValueError, match=r"blocks/attn/q_bias: layers \[0\] are missing"):
        from_torch(KEYMAP, {"blocks.2.sa.q_bias": np.zeros(2)})
