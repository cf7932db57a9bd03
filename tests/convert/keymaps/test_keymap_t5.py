import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from both_ways import assert_exact, made_shapes, random_state

from jaxedit import tree
from jaxedit.config import T5Config
from jaxedit.convert.keymaps.keymap import assemble, from_torch
from jaxedit.convert.keymaps.keymap_t5 import KEYMAP
from jaxedit.models.t5 import T5Encoder

TINY = T5Config(vocab_size=40, width=16, head_width=8, mlp_hidden=24, layers=2, heads=3)


def expected_shapes(config):
    text = jnp.zeros((1, 4), int), jnp.ones((1, 4), bool)
    return made_shapes(lambda key: T5Encoder(config).init(key, *text)["params"], jax.random.key(0))


def test_flan_t5_xl_has_the_published_size():
    state = random_state(KEYMAP, expected_shapes(TINY))
    assert len(state) == 2 + 9 * TINY.layers + 1
    assert sum(map(math.prod, expected_shapes(T5Config()).values())) == 1_223_527_424


def test_exact_both_ways():
    assert_exact(KEYMAP, expected_shapes(TINY))


def test_the_embedding_has_two_names():
    state = random_state(KEYMAP, expected_shapes(TINY))
    embed = state["shared.weight"]
    both = state | {"encoder.embed_tokens.weight": embed}
    second = {key: array for key, array in both.items() if key != "shared.weight"}
    for names in (both, second):
        np.testing.assert_array_equal(from_torch(KEYMAP, names)["embed"], embed)


def test_the_decoder_of_whole_models_is_ignored_by_name():
    expected = expected_shapes(TINY)
    state = random_state(KEYMAP, expected)
    decoder = ("decoder.block.0.layer.0.SelfAttention.q.weight", "decoder.embed_tokens.weight")
    whole = state | {key: np.zeros((3, 3)) for key in (*decoder, "lm_head.weight")}
    assert assemble(KEYMAP, whole, expected).keys() == expected.keys()
    query = state["encoder.block.1.layer.0.SelfAttention.q.weight"]
    params = tree.flatten(from_torch(KEYMAP, whole, expected))
    np.testing.assert_array_equal(
        params["blocks/attn/q/kernel"][1].view(np.uint32), query.T.view(np.uint32)
    )


def test_the_first_t5_is_refused():
    """Its MLPs have one matrix where Flan-T5's have a gate."""
    state = random_state(KEYMAP, expected_shapes(TINY))
    gate = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
    state[gate.replace("wi_0", "wi")] = state.pop(gate)
    with pytest.raises(ValueError, match=r"missing keys: .*wi_0.weight; unexpected keys: .*wi.wei"):
        assemble(KEYMAP, state, expected_shapes(TINY))
