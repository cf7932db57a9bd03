import numpy as np
import pytest
from both_ways import assert_exact, random_state, shapes_of

from jaxedit import tree
from jaxedit.convert.keymaps.key_rules import (
    LINEAR,
    TABLE,
    KeyMap,
    Layout,
    Rule,
    dense,
    renaming,
    under,
)
from jaxedit.convert.keymaps.keymap import assemble, from_torch, to_torch

KEYMAP = KeyMap(
    rules=(
        Rule("embed", "embed", TABLE),
        Rule("gain", "gain", Layout((), 0)),
        *under("layers.0.", "first/", dense("fc", "mlp")),
        *under("layers.{}.", "layers[{}-1]/", dense("fc", "mlp")),
        Rule(("gate.weight", "up.weight"), "gate_up", LINEAR),
        Rule("conv.{}.{}", "conv_{}_{}"),
    ),
    ignored=(r"mask|old\..*",),
    canonical=renaming((r"both", "gate.weight", "up.weight"), (r"h\.(.*)", r"layers.\1")),
    published=lambda keys: {key: f"table.{key}" for key in keys if key == "embed"},
)
EXPECTED = {
    "embed": (5, 2),
    "gain": (),
    "first/mlp/kernel": (2, 3),
    "first/mlp/bias": (3,),
    "layers/mlp/kernel": (2, 2, 3),
    "layers/mlp/bias": (2, 3),
    "gate_up": (4, 6),
    "conv_0_1": (1,),
    "conv_10_1": (1,),
}


@pytest.fixture
def state():
    state = random_state(KEYMAP, EXPECTED)
    return state | {"embed": state.pop("table.embed")}


def test_both_ways():
    keymap = KEYMAP._replace(canonical=renaming((r"table\.embed", "embed")))
    assert_exact(keymap, EXPECTED)


def test_by_hand(state):
    params = tree.flatten(from_torch(KEYMAP, state))
    assert shapes_of(params) == EXPECTED
    np.testing.assert_array_equal(params["first/mlp/kernel"], state["layers.0.fc.weight"].T)
    np.testing.assert_array_equal(params["layers/mlp/bias"][1], state["layers.2.fc.bias"])
    np.testing.assert_array_equal(params["gate_up"][:, :3], state["gate.weight"].T)
    np.testing.assert_array_equal(params["gate_up"][:, 3:], state["up.weight"].T)
    assert "table.embed" in to_torch(KEYMAP, params)


def test_other_names_and_ignored_keys(state):
    expected = tree.flatten(from_torch(KEYMAP, state, EXPECTED))
    other = {key.replace("layers.", "h."): array for key, array in state.items()}
    other["both"] = np.concatenate([other.pop("gate.weight"), other.pop("up.weight")])
    other |= {"mask": np.zeros(1), "old.x": np.zeros(2)}
    for path, array in assemble(KEYMAP, other, EXPECTED).items():
        np.testing.assert_array_equal(array[...], expected[path])


def test_all_that_is_wrong_is_listed_by_pytorch_names(state):
    del state["embed"], state["layers.2.fc.bias"]
    state |= {"up.weight": np.zeros((3, 5)), "h.1.x": np.zeros(1), "z": np.zeros(1)}
    with pytest.raises(ValueError) as error:
        assemble(KEYMAP, state, EXPECTED)
    assert str(error.value) == (
        "missing keys: layers.2.fc.bias, table.embed; unexpected keys: h.1.x, z; "
        "misshapen keys: up.weight (3, 5) instead of (3, 4)"
    )


def test_gaps_show_without_expected_shapes(state):
    del state["layers.1.fc.bias"], state["gate.weight"]
    state["layers.2.fc.weight"] = np.zeros((7, 2))
    with pytest.raises(ValueError, match="missing keys: gate.weight, layers.1.fc.bias; misshap"):
        assemble(KEYMAP, state)
    with pytest.raises(ValueError, match=r"unexpected keys: layers.999999999999.fc.bias$"):
        assemble(KEYMAP, {"layers.999999999999.fc.bias": np.zeros(1), "gain": np.zeros(())})


def test_parameters_that_the_model_lacks_are_unexpected(state):
    fewer = {path: shape for path, shape in EXPECTED.items() if path != "gate_up"}
    with pytest.raises(ValueError, match="unexpected keys: gate.weight, up.weight"):
        assemble(KEYMAP, state, fewer)
    with pytest.raises(ValueError, match="without a key in PyTorch: other"):
        to_torch(KEYMAP, {"other": np.zeros(1)})


def test_repeated_and_uneven_keys_are_errors():
    bias = np.zeros(3)
    with pytest.raises(ValueError, match="repeated keys: layers.0.fc.bias and h.0.fc.bias"):
        assemble(KEYMAP, {"layers.0.fc.bias": bias, "h.0.fc.bias": bias})
    with pytest.raises(ValueError, match="both: 3 rows or columns are not 2 equal parts"):
        assemble(KEYMAP, {"both": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="gate_up: 3 rows or columns are not 2 equal parts"):
        to_torch(KEYMAP, {"gate_up": np.zeros((2, 3))})
