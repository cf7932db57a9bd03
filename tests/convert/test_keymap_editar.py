import json
import pathlib

import jax
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import EditARConfig, llamagen
from jaxedit.convert.keymap_editar import KEYMAP
from jaxedit.convert.keymaps import from_torch
from jaxedit.models.editar import init_null, init_params

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NOTHING = np.dtype([])  # elements of zero bytes: shapes without memory
MLP = "layers.0.feed_forward."


def expected_shapes(config: EditARConfig) -> dict[str, tuple[int, ...]]:
    """Shapes by path of what a model of this size consists of."""

    def make(key):
        return {"transformer": init_params(config, key), "null": init_null(config, key)}

    made = tree.flatten(jax.eval_shape(make, jax.random.key(0)))
    return {path: leaf.shape for path, leaf in made.items()}


def converted_shapes(state: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    """Shapes by path of a state dict whose shapes are given."""
    params = from_torch(KEYMAP, {key: np.zeros(shape, NOTHING) for key, shape in state.items()})
    return {path: leaf.shape for path, leaf in tree.flatten(params).items()}


@pytest.mark.parametrize(
    "name, config", [("editar", EditARConfig()), ("llamagen", llamagen("xl", grid=32))]
)
@pytest.mark.parametrize("wrapper", ["", "module._orig_mod."])
def test_published_keys_fill_every_parameter(name, config, wrapper):
    published = json.loads((GOLDEN / f"{name}_state_dict.json").read_text())
    state = {wrapper + key: shape for key, shape in published.items()}
    assert converted_shapes(state) == expected_shapes(config)


def test_class_models_have_a_table_and_no_constants():
    config = llamagen("b", prefix="class")
    published = json.loads((GOLDEN / "llamagen_state_dict.json").read_text())
    state = {key: shape for key, shape in published.items() if "cls_embedding" not in key}
    state["cls_embedding.embedding_table.weight"] = [1001, 1280]
    assert set(converted_shapes(state)) == set(expected_shapes(config))


def test_gate_comes_before_up():
    state = {f"{MLP}w1.weight": np.ones((3, 2)), f"{MLP}w3.weight": np.zeros((3, 2))}
    flat = tree.flatten(from_torch(KEYMAP, state))
    expected = [[[1, 1, 1, 0, 0, 0]] * 2]
    np.testing.assert_array_equal(flat["transformer/blocks/mlp/gate_up/kernel"], expected)


def test_unknown_and_missing_keys_are_errors():
    with pytest.raises(ValueError, match="unexpected keys: extra, layers.0.attention.bias"):
        from_torch(KEYMAP, {"extra": np.zeros(1), "layers.0.attention.bias": np.zeros(1)})
    with pytest.raises(ValueError, match="layers.0.feed_forward.w3.weight is missing"):
        from_torch(KEYMAP, {f"{MLP}w1.weight": np.zeros((3, 2))})
    with pytest.raises(ValueError, match=r"attn_norm/scale: layers \[0\] are missing"):
        from_torch(KEYMAP, {"layers.1.attention_norm.weight": np.zeros(2)})
