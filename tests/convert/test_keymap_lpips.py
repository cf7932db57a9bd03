import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxedit.convert.keymap_lpips import KEYMAP, read
from jaxedit.convert.keymaps import from_torch

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


def test_every_layer_finds_its_place(tmp_path):
    save_file(hub_state(), tmp_path / "vgg.safetensors")
    params = read(tmp_path / "vgg.safetensors")
    assert params["vgg"]["conv_2_1"]["bias"][0] == 12 and params["vgg"]["conv_4_2"]["bias"][0] == 28
    assert params["weight_3"].shape == (512,) and params["weight_3"][0] == 3
    assert params["weight_3"].dtype == np.float32


def test_missing_and_foreign_arrays_are_named(tmp_path):
    state = hub_state()
    del state["lin2.model.1.weight"]
    save_file(state, tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match="missing or of another shape: weight_2"):
        read(tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match="unexpected keys: head.weight"):
        from_torch(KEYMAP, {"head.weight": np.zeros(1)})
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none.safetensors")
