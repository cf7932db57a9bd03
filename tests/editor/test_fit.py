"""Pictures that are not square, through the whole editor."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxedit import Editor, assets
from jaxedit.checkpoints import pretrained
from jaxedit.config import OFFICIAL, ConfigError, PretrainedConfig, TrainConfig, to_dict
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.transforms import Fit, from_square, to_square
from jaxedit.erec.panel import panel_of

WORDS = "make the ball blue"
CROP, PAD = Fit("crop", "editar"), Fit("pad", "editar")


@pytest.fixture(scope="module")
def editor(tiny_editar):
    return Editor.from_pretrained(tiny_editar)


def picture(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def square(image):
    return np.asarray(to_square(image, 16, CROP))


def same(a, b):
    return np.array_equal(a.tokens[0], b.tokens[0]) and a.image.tobytes() == b.image.tobytes()


@pytest.mark.parametrize("size", [(40, 24), (24, 41), (1, 1), (1, 1000), (300, 17), (31, 31)])
def test_editar_sees_and_returns_the_middle_square(editor, size):
    image = picture(*size)
    result = editor.edit(image, WORDS)
    assert result.image.size == (16, 16) and result.settings["fit"] == "crop"
    assert "keep_size" not in result.settings
    assert same(result, editor.edit(square(image), WORDS))
    kept = editor.edit(image, WORDS, keep_size=True)
    assert kept.image.size == size and kept.settings["keep_size"] is True
    assert np.array_equal(kept.tokens[0], result.tokens[0])


def test_borders_come_from_the_source_bit_for_bit(editor):
    image = picture(40, 24)
    kept, pixels = (np.asarray(x) for x in (editor.edit(image, WORDS, keep_size=True).image, image))
    # By hand: 27x16, cut at column 5; 5 and 16 of these columns are 7.4 and 23.7 of the picture's.
    assert np.array_equal(kept[:, :7], pixels[:, :7])
    assert np.array_equal(kept[:, 31:], pixels[:, 31:])
    assert (kept[:, 7:31] != pixels[:, 7:31]).any((0, 2)).all()


def test_a_square_of_the_models_size_is_the_same_in_every_way(editor):
    image = picture(16, 16)
    usual = editor.edit(image, WORDS)
    for options in ({"keep_size": True}, {"fit": "pad"}, {"fit": "pad", "keep_size": True}):
        assert same(editor.edit(image, WORDS, **options), usual)


def test_another_fit_than_the_models(editor, tiny_model):
    image = picture(40, 24)
    padded = editor.edit(image, WORDS, fit="pad")
    assert padded.image.size == (40, 24) and padded.settings["fit"] == "pad"
    whole = np.asarray(to_square(image, 16, PAD))
    drawn = np.asarray(editor.edit(whole, WORDS).image)
    assert padded.image.tobytes() == from_square(drawn, image, PAD).tobytes()
    varedit = Editor.from_pretrained(tiny_model)
    assert varedit.edit(image, WORDS).image.size == (40, 24)
    assert varedit.edit(image, WORDS).settings["fit"] == "pad"
    cropped = varedit.edit(image, WORDS, fit="crop")
    assert cropped.image.size == (varedit.size, varedit.size)
    with pytest.raises(ConfigError, match="fit='cover': expected pad or crop"):
        editor.edit(image, WORDS, fit="cover")


@pytest.mark.parametrize("keep_size", [False, True])
def test_rows_of_mixed_shapes_are_what_they_are_alone(tiny_editar, keep_size):
    editor = Editor.from_pretrained(tiny_editar, rows_per_device=2)
    images = [picture(40, 24), picture(16, 16), picture(9, 30)]
    batch = editor.edit_batch(images, [WORDS] * 3, seed=5, keep_size=keep_size)
    for i, row in enumerate(batch):
        assert same(row, editor.edit(images[i], WORDS, seed=5 + i, keep_size=keep_size))
        assert row.image.size == (images[i].size if keep_size else (16, 16))


@pytest.mark.parametrize("task", ["depth", "canny", "segmentation"])
def test_tasks_see_the_middle_of_their_maps(editor, task):
    image = picture(40, 24)
    result = editor.edit(image, "a ball", task=task)
    assert same(result, editor.edit(square(image), "a ball", task=task))
    if task == "canny":
        words = "given the edge image generate an image following the description a ball"
        assert same(result, editor.edit(edge_map(square(image)), words))


@pytest.mark.parametrize("keep_size", [False, True])
def test_everything_erec_shows_has_one_geometry(editor, keep_size):
    image = picture(40, 24)
    options = {"method": "editar+erec", "tau_js": 2.0, "hard_paste": True, "keep_size": keep_size}
    result = editor.edit(image, WORDS, **options)
    size = image.size if keep_size else (16, 16)
    assert result.mask.shape == (4, 4) and not result.mask.any()
    for shown in (result.image, *(result.diagnostics[n] for n in ("reconstruction", "raw_edit"))):
        assert shown.size == size
    if not keep_size:  # nothing may change: the source's own pixels
        assert result.image.tobytes() == square(image).tobytes()
    assert panel_of(image, result).width == 4 * (264 if keep_size else 256) + 60


def test_directories_without_the_setting_are_as_released(tiny_model, tiny_editar, tmp_path):
    for model, fit in ((tiny_model, "pad"), (tiny_editar, "crop")):
        directory = tmp_path / fit
        shutil.copytree(model, directory)
        settings = json.loads((directory / "config.json").read_text())
        assert settings.pop("fit") == fit
        (directory / "config.json").write_text(json.dumps(settings))
        assert pretrained.read_config(directory).fit == fit
        for other in ("pad", "crop"):
            (directory / "config.json").write_text(json.dumps(settings | {"fit": other}))
            assert pretrained.read_config(directory).fit == other
        (directory / "config.json").write_text(json.dumps(settings | {"fit": "cover"}))
        with pytest.raises(ConfigError, match="fit='cover': expected pad, crop or nothing"):
            pretrained.read_config(directory)


def test_released_and_bundled_models_say_it():
    released = {"varedit": "pad", "editar": "crop"}
    for release in OFFICIAL.values():
        fit = released.get(release.config.model_type, "crop")
        assert to_dict(release.config)["fit"] == fit
    for name, fit in (("toy-varedit", "pad"), ("toy-editar", "crop")):
        assert json.loads((assets.ROOT / name / "config.json").read_text())["fit"] == fit


def test_training_follows_the_model_or_says_otherwise():
    for model_type, fit in (("varedit", "pad"), ("editar", "crop"), ("bsq", "crop")):
        config = TrainConfig(model=PretrainedConfig(model_type=model_type))
        assert config.fit == fit
        config.varedit.fit = "crop"  # of VAREdit alone
        assert config.fit == "crop"
    assert TrainConfig(model=PretrainedConfig(model_type="editar", fit="pad")).fit == "pad"
