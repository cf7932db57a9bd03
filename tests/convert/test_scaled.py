"""8-bit weights with a scale beside them."""

import json

import ml_dtypes
import numpy as np
import pytest
import torch_writer
from safetensors.numpy import save

from jaxedit.convert.state_dict import open_state

WEIGHT = np.array([[1, -2, 4], [0.5, 8, 16]])
ROWS = np.array([[2.0], [3.0]], np.float32)
FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz")


def opened(tmp_path, arrays, name="f.safetensors"):
    if name.endswith(".pth"):
        torch_writer.save(tmp_path / name, arrays)
    else:
        (tmp_path / name).write_bytes(save(arrays))
    return open_state(tmp_path / name).arrays


@pytest.mark.parametrize("kind", FLOAT8)
@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("scale", [np.float32(0.5), np.array([0.25], np.float32), ROWS])
def test_the_scale_is_multiplied(tmp_path, kind, name, scale):
    weight = WEIGHT.astype(getattr(ml_dtypes, kind))
    arrays = {"model.a.weight": weight, f"model.a.{name}": np.asarray(scale)}
    arrays |= {"model.a.scale_input": np.float32(9)[None], "model.a.bias": np.ones(2, "f4")}
    arrays |= {"scaled_fp8": np.zeros(0, weight.dtype)}
    found = opened(tmp_path, arrays, "f.pth")
    assert found.keys() == {"a.weight", "a.bias"} and found["a.weight"].dtype == np.float32
    assert np.array_equal(found["a.weight"][...], WEIGHT * scale)
    assert np.array_equal(found["a.weight"][1:, 1], (WEIGHT * scale)[1:, 1])
    assert found["a.weight"].file == tmp_path / "f.pth"


@pytest.mark.parametrize("kind", [*FLOAT8[:2]])
def test_without_a_scale_numbers_are_as_they_are(tmp_path, kind):
    weight = WEIGHT.astype(getattr(ml_dtypes, kind))
    found = opened(tmp_path, {"a.weight": weight})["a.weight"]
    assert found.dtype == weight.dtype and np.array_equal(found[...].astype("f4"), WEIGHT)


def test_a_scale_of_another_network_is_a_weight(tmp_path):
    arrays = {"a.weight": np.ones(2, "f4"), "a.weight_scale": np.ones(2, "f4")}
    assert opened(tmp_path, arrays).keys() == arrays.keys()


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("weight_scale", np.ones((1, 3), "f4")),
        ("scale_weight", np.ones(2, "f4")),
        ("weight_scale_inv", np.ones((1, 1), "f4")),
        ("weight_scale_2", np.ones(1, "f4")),
        ("weight_zero_point", np.ones(1, "i1")),
        ("comfy_quant", np.frombuffer(b'{"format": "nvfp4"}', "u1")),
        ("comfy_quant", np.frombuffer(b"[" * 5000, "u1")),
    ],
)
def test_other_scales_are_refused_by_name(tmp_path, name, scale):
    arrays = {"a.weight": WEIGHT.astype(ml_dtypes.float8_e4m3fn), f"a.{name}": scale}
    with pytest.raises(ValueError, match=rf"f.safetensors: a\.{name}: ") as told:
        opened(tmp_path, arrays)
    assert "\n" not in str(told.value)


def test_a_format_that_is_known(tmp_path):
    text = json.dumps({"format": "float8_e4m3fn"}).encode()
    weight = WEIGHT.astype(ml_dtypes.float8_e4m3fn)
    arrays = {"a.weight": weight, "a.weight_scale": np.float32(2)[None]}
    found = opened(tmp_path, arrays | {"a.comfy_quant": np.frombuffer(text, "u1")})
    assert found.keys() == {"a.weight"} and found["a.weight"][0].tolist() == [2, -4, 8]
