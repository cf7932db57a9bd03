"""Models by any name, converted first; those of `test_convert` bring the releases."""

import numpy as np
import pytest
from safetensors.numpy import save

from jaxedit import assets
from jaxedit.convert.ensure_converted import ensure_converted


def test_a_model_of_ours_is_where_its_name_says():
    assert ensure_converted("toy-varedit") == assets.ROOT / "toy-varedit"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "a web page .*; a model is a folder made by .*convert --src=.*my file.pth'"),
        (b"", "an empty file .*; a model is a folder"),
        (save({"w": np.ones(3)}), "not a checkpoint that jaxedit knows: .*; a model is a folder"),
    ],
)
def test_other_files_are_no_models(tmp_path, data, message):
    (tmp_path / "my file.pth").write_bytes(data)
    with pytest.raises(ValueError, match=message) as told:
        ensure_converted(str(tmp_path / "my file.pth"))
    assert "\n" not in str(told.value)
