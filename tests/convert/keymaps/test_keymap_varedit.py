import dataclasses
import gzip
import json
import math
import pathlib

import jax
import numpy as np
import pytest
from both_ways import assert_complete, assert_exact, blank, made_shapes, random_state, shapes_of

from jaxedit import tree
from jaxedit.config import PRESETS
from jaxedit.convert.keymaps.keymap import assemble, from_torch, to_torch
from jaxedit.convert.keymaps.keymap_varedit import KEYMAP
from jaxedit.models.varedit import init_params

PUBLISHED = pathlib.Path(__file__).parents[2] / "golden/varedit_transformer_state_dict.json.gz"
SMALL = dataclasses.replace(
    PRESETS["tiny"].varedit, depth=4, width=32, heads=2, mlp_hidden=64, max_text_tokens=6
)


def expected_shapes(config):
    return made_shapes(lambda key: init_params(config, key), jax.random.key(0))


@pytest.mark.parametrize("name", ["2b", "8b"])
def test_published_keys_are_complete_both_ways(name):
    published = json.loads(gzip.decompress(PUBLISHED.read_bytes()))[name]
    expected = expected_shapes(PRESETS[name].varedit)
    constant = {key for key in published["shapes"] if key.endswith("zero_k_bias")}
    assert_complete(KEYMAP, published["shapes"], expected, ignored=constant)
    assert sum(map(math.prod, expected.values())) == published["num_parameters"]


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_exact_both_ways(depth):
    assert_exact(KEYMAP, expected_shapes(dataclasses.replace(SMALL, depth=depth)))


def test_any_chunks_and_none_are_the_same():
    bias = [np.full(2, n, np.float32) for n in range(5)]
    chunked = {f"block_chunks.{n // 2}.module.{n % 2}.sa.q_bias": bias[n] for n in range(5)}
    plain = {f"blocks.{n}.sa.q_bias": bias[n] for n in range(5)}
    for state in (chunked, plain):
        flat = tree.flatten(from_torch(KEYMAP, state))
        np.testing.assert_array_equal(flat["first_block/attn/q_bias"], [0, 0])
        np.testing.assert_array_equal(flat["blocks/attn/q_bias"][:, 0], [1, 2, 3, 4])
        assert list(to_torch(KEYMAP, flat)) == list(plain)  # 8 chunks cannot share 5 layers


@pytest.mark.parametrize(
    ("depth", "last"),
    [(32, "7.module.3"), (40, "7.module.4"), (16, "7.module.1"), (12, "3.module.2")],
)
def test_layers_leave_in_eight_chunks_or_the_most_that_divide_them(depth, last):
    shapes = {"first_block/attn/q_bias": (2,), "blocks/attn/q_bias": (depth - 1, 2)}
    assert list(to_torch(KEYMAP, blank(shapes)))[-1] == f"block_chunks.{last}.sa.q_bias"


def test_tables_and_zero_biases_are_dropped():
    state = {"lvl_1L": np.zeros(3), "blocks.0.sa.zero_k_bias": np.zeros(2)}
    assert from_torch(KEYMAP, state) == {}


def test_text_keeps_the_rows_of_the_file():
    """The release's loader would cut them, or add random ones, and say nothing."""
    expected = expected_shapes(SMALL)
    state = random_state(KEYMAP, expected | {"text/uncond": (4, SMALL.text_width)})
    assert shapes_of(assemble(KEYMAP, state))["text/uncond"] == (4, SMALL.text_width)
    with pytest.raises(ValueError, match=r"misshapen keys: cfg_uncond \(4, \d+\) instead of \(6, "):
        assemble(KEYMAP, state, expected)


def test_unknown_keys_and_missing_layers_are_errors():
    with pytest.raises(ValueError, match="unexpected keys: blocks.1.sa.gamma, extra"):
        from_torch(KEYMAP, {"extra": np.zeros(1), "blocks.1.sa.gamma": np.zeros(1)})
    state = random_state(KEYMAP, expected_shapes(SMALL))
    del state["block_chunks.2.module.0.sa.q_bias"], state["block_chunks.0.module.0.ada_gss"]
    missing = "block_chunks.0.module.0.ada_gss, block_chunks.2.module.0.sa.q_bias"
    with pytest.raises(ValueError, match=f"^missing keys: {missing}$"):
        assemble(KEYMAP, state, expected_shapes(SMALL))
