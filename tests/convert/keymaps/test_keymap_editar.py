import json
import pathlib

import jax
import numpy as np
import pytest
from both_ways import assert_complete, assert_exact, made_shapes

from jaxedit import tree
from jaxedit.config import EditARConfig, llamagen
from jaxedit.convert.keymaps.keymap import assemble, from_torch
from jaxedit.convert.keymaps.keymap_editar import KEYMAP
from jaxedit.models.editar import init_null, init_params

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
MLP = "layers.0.feed_forward."
SMALL = {"layers": 2, "width": 32, "heads": 2, "mlp_hidden": 48, "codes": 40, "grid": 4}


def expected_shapes(config):
    """Return the shapes by path of a model of this size."""

    def make(key):
        null = {} if config.prefix == "class" else {"null": init_null(config, key)}
        return {"transformer": init_params(config, key)} | null

    return made_shapes(make, jax.random.key(0))


@pytest.mark.parametrize(
    "name, config", [("editar", EditARConfig()), ("llamagen", llamagen("xl", grid=32))]
)
def test_published_keys_are_complete_both_ways(name, config):
    published = json.loads((GOLDEN / f"{name}_state_dict.json").read_text())
    assert_complete(KEYMAP, published, expected_shapes(config))


def test_class_models_have_a_table_and_no_constants():
    expected = expected_shapes(llamagen("xl", prefix="class"))
    published = json.loads((GOLDEN / "llamagen_state_dict.json").read_text())
    state = {key: shape for key, shape in published.items() if "cls_embedding" not in key}
    state["cls_embedding.embedding_table.weight"] = [1001, 1280]
    assert_complete(KEYMAP, state, expected)


@pytest.mark.parametrize("distill_width", [0, 24])
def test_exact_both_ways(distill_width):
    assert_exact(KEYMAP, expected_shapes(EditARConfig(**SMALL, distill_width=distill_width)))


def test_gate_comes_before_up():
    state = {f"{MLP}w1.weight": np.ones((3, 2)), f"{MLP}w3.weight": np.zeros((3, 2))}
    flat = tree.flatten(from_torch(KEYMAP, state))
    expected = [[[1, 1, 1, 0, 0, 0]] * 2]
    np.testing.assert_array_equal(flat["transformer/blocks/mlp/gate_up/kernel"], expected)


def test_unknown_and_missing_keys_are_errors():
    with pytest.raises(ValueError, match="unexpected keys: extra, layers.0.attention.bias"):
        assemble(KEYMAP, {"extra": np.zeros(1), "layers.0.attention.bias": np.zeros(1)})
    with pytest.raises(ValueError, match="missing keys: layers.0.feed_forward.w3.weight"):
        assemble(KEYMAP, {f"{MLP}w1.weight": np.zeros((3, 2))})
    state = {f"layers.{n}.attention_norm.weight": np.zeros(2) for n in (0, 2, 3, 5)}
    with pytest.raises(ValueError, match=r"missing keys: layers.1.attention_norm.weight; unexp"):
        assemble(KEYMAP, state)
