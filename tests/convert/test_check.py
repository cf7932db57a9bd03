import math
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from jaxedit.checkpoints import safetensors_file
from jaxedit.config import PRESETS, BSQConfig, PretrainedConfig
from jaxedit.convert import __main__ as command
from jaxedit.convert import check
from jaxedit.data.pictures import photo
from jaxedit.editor import provenance


def stored(path, arrays):
    save_file(arrays, path)
    return safetensors_file.read_stored(path)


def statistics(path, arrays):
    return check.statistics(stored(path, arrays), lambda count: None)


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def run(*arguments, capsys):
    code = command.main(["--check", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_numbers_by_hand(tmp_path):
    arrays = {"a/x": np.float32([[1, 2], [3, 6]]), "a/y": np.array(-2, np.float16)}
    found = statistics(tmp_path / "a", arrays)
    assert (found.arrays, found.parameters, found.dtypes) == (2, 5, ("float16", "float32"))
    assert (found.lowest, found.highest, found.mean) == (-2, 6, 2)
    assert math.isclose(found.std, math.sqrt((1 + 0 + 1 + 16 + 16) / 5))


def test_pieces_change_nothing(tmp_path, monkeypatch):
    arrays = {"a": np.random.default_rng(0).standard_normal((7, 30), np.float32)}
    whole = statistics(tmp_path / "a", arrays)
    monkeypatch.setattr("jaxedit.checkpoints.lazy_tensor.PIECE_BYTES", 256)
    pieces = statistics(tmp_path / "a", arrays)
    assert pieces.digest == whole.digest and math.isclose(pieces.std, whole.std)


def test_what_is_not_finite_is_named_and_left_out(tmp_path):
    found = statistics(tmp_path / "a", {"x": np.float32([1, np.nan, 3]), "y": np.float32([2])})
    assert found.not_finite == ("x",) and (found.lowest, found.highest, found.mean) == (1, 3, 2)
    nothing = statistics(tmp_path / "b", {"x": np.float32([np.inf])})
    assert nothing.not_finite == ("x",) and nothing.mean == 0


def test_the_digest_tells_names_shapes_types_and_bits(tmp_path):
    base = {"x": np.zeros((2, 3), np.float32)}
    others = [
        base,
        {"y": base["x"]},
        {"x": base["x"].T.copy()},
        {"x": np.zeros((2, 3), np.int32)},
        {"x": np.float32([[0, 0, 0], [0, 0, 1e-45]])},
    ]
    digests = {statistics(tmp_path / str(n), arrays).digest for n, arrays in enumerate(others)}
    assert len(digests) == len(others)
    assert statistics(tmp_path / "again", dict(base)).digest in digests


def test_a_bundled_model_is_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("toy-varedit", capsys=capsys)
    assert code == 0 and out.splitlines()[-1].endswith("toy-varedit: sound")
    assert "rope_mode=grid" in out
    rows = [line.split()[:4] for line in out.splitlines()]
    assert ["transformer", "59", "1,788,024", "float16"] in rows
    picture = photo.read("toy-varedit-check.png")
    assert picture.size == (2 * 256 + 3 * 8, 256 + 3 * 8 + 21)
    assert float(out.split("PSNR ")[1].split()[0]) > 25
    left, right = (np.asarray(picture, float)[8:264, x : x + 256] for x in (8, 272))
    assert 0 < np.abs(left - right).mean() < 8


def test_the_picture_lies_beside_a_directory_and_has_the_models_size(tiny_editar, tmp_path, capsys):
    model = shutil.copytree(tiny_editar, tmp_path / "model")
    Image.new("RGB", (30, 50), "teal").save(tmp_path / "photo.png")
    code, out, _ = run(model, "--picture", tmp_path / "photo.png", capsys=capsys)
    assert code == 0 and "photo.png and its reconstruction" in out
    assert photo.read(tmp_path / "model-check.png").width == 2 * 256 + 3 * 8
    assert "grid=4" in out and "null" in out


@pytest.mark.parametrize(
    ("kind", "options", "prompt"),
    [
        ("tiny_infinity", (), "a photo of a cat"),
        ("tiny_classes", (), "0"),
        ("tiny_classes", ("--prompt", "4"), "4"),
    ],
)
def test_a_base_model_draws_a_picture(kind, options, prompt, request, tmp_path, capsys):
    model = shutil.copytree(request.getfixturevalue(kind), tmp_path / "model")
    code, out, _ = run(model, *options, capsys=capsys)
    assert code == 0 and f"model-check-drawn.png: drawn from {prompt!r} in" in out
    assert out.splitlines()[-1] == f"{model}: sound"
    assert photo.read(tmp_path / "model-check-drawn.png").width in (16, 32)
    settings = provenance.read_settings(tmp_path / "model-check-drawn.png", "draw")
    assert settings["prompt"] == prompt and settings["seed"] == 0


def test_a_model_with_a_value_that_is_not_finite(model, tmp_path, capsys):
    weights = load_file(model / "model.safetensors")
    weights["t5/norm/scale"][3] = np.nan
    save_file(weights, model / "model.safetensors")
    code, out, err = run(model, capsys=capsys)
    assert code == 2 and out.splitlines()[-1] == f"{model}: not sound"
    assert f"error: {model}: t5: values that are not finite in t5/norm/scale" in err
    assert not (tmp_path / "model-check.png").exists()


def test_damage_is_one_line(model, capsys):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, _, err = run(model, capsys=capsys)
    assert code == 2 and "not a complete safetensors file" in err and err.count("\n") == 1
    weights.unlink()
    code, _, err = run(model, capsys=capsys)
    assert code == 2 and "no such file" in err and err.count("\n") == 1


def test_a_tokenizer_alone_is_tried_on_a_small_grid():
    scales = check.latent_scales(PretrainedConfig(model_type="bsq", bsq=BSQConfig()))
    assert scales[0] == (1, 1) and scales[-1] == (16, 16)
    assert check.latent_scales(PRESETS["8b"])[-1] == (64, 64)
