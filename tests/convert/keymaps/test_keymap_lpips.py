import jax
import jax.numpy as jnp
import numpy as np
import pytest
from both_ways import assert_complete, assert_exact, made_shapes
from safetensors.numpy import save_file

from jaxedit.convert.keymaps.keymap import assemble
from jaxedit.convert.keymaps.keymap_lpips import KEYMAP, read
from jaxedit.models.lpips import LPIPS

CONVS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
CONVS |= {n: 512 for n in (17, 19, 21, 24, 26, 28)}


def hub_state():
    """Arrays of the shapes and names of torchvision and LPIPS; each bias holds its layer number."""
    state, inputs = {}, 3
    for n, outputs in CONVS.items():
        state[f"features.{n}.weight"] = np.zeros((outputs, inputs, 3, 3), np.float16)
        state[f"features.{n}.bias"] = np.full(outputs, n, np.float16)
        inputs = outputs
    for i, channels in enumerate((64, 128, 256, 512, 512)):
        state[f"lin{i}.model.1.weight"] = np.full((1, channels, 1, 1), i, np.float16)
    return state


def test_published_keys_are_complete_both_ways():
    pixels = jnp.zeros((1, 32, 32, 3))
    expected = made_shapes(
        lambda key: LPIPS().init(key, pixels, pixels)["params"], jax.random.key(0)
    )
    shapes = {key: array.shape for key, array in hub_state().items()}
    assert_complete(KEYMAP, shapes, expected)
    assert_exact(KEYMAP, {path: expected[path] for path in ("weight_2", "vgg/conv_0_1/kernel")})


def test_squeezenet_is_complete_both_ways(golden):
    arrays, _ = golden("metrics_lpips")
    shapes = {k: v.shape for k, v in arrays.items() if k.startswith(("features", "lin"))}
    pixels = jnp.zeros((1, 32, 32, 3))
    expected = made_shapes(
        lambda key: LPIPS("squeeze").init(key, pixels, pixels)["params"], jax.random.key(0)
    )
    assert_complete(KEYMAP, shapes, expected)
    paths = ("weight_6", "squeeze/conv/kernel", "squeeze/fire_3/squeeze/kernel")
    assert_exact(KEYMAP, {path: expected[path] for path in paths})


def test_every_layer_finds_its_place(tmp_path):
    save_file(
        hub_state() | {"classifier.0.bias": np.zeros(2, np.float16)}, tmp_path / "vgg.safetensors"
    )
    params = read(tmp_path / "vgg.safetensors")
    assert params["vgg"]["conv_2_1"]["bias"][0] == 12 and params["vgg"]["conv_4_2"]["bias"][0] == 28
    assert params["weight_3"].shape == (512,) and params["weight_3"][0] == 3
    assert params["weight_3"].dtype == np.float32


def test_missing_and_foreign_arrays_are_named(tmp_path):
    state = hub_state()
    del state["lin2.model.1.weight"]
    save_file(state, tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match="vgg.safetensors: missing keys: lin2.model.1.weight"):
        read(tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match="unexpected keys: head.weight"):
        assemble(KEYMAP, {"head.weight": np.zeros(1)})
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none.safetensors")
