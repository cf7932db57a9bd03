import numpy as np
import pytest
from PIL import Image

from jaxedit import Editor, EditResult, rng
from jaxedit.checkpoints import pretrained
from jaxedit.config import ConfigError, MeshConfig
from jaxedit.editor import provenance
from jaxedit.sampling import sample_varedit
from jaxedit.sharding.mesh import make_mesh


@pytest.fixture(scope="module")
def editor(tiny_model):
    return Editor.from_pretrained(tiny_model)


def picture(seed=0, width=40, height=24):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(a: EditResult, b: EditResult) -> bool:
    tokens = all(np.array_equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))
    return tokens and a.image.tobytes() == b.image.tobytes()


def test_an_edit_has_the_pictures_size_and_says_how_it_was_made(editor):
    result = editor.edit(picture(), "make the ball blue", seed=7, guidance=3.0)
    assert result.image.size == (40, 24) and result.mask is None
    assert [scale.shape for scale in result.tokens] == [(1, 16), (4, 16), (16, 16)]
    assert result.settings["seed"] == 7 and result.settings["guidance"] == 3.0
    assert result.settings["temperature"] == editor.config.sample.temperature
    again = editor.edit(picture(), "make the ball blue", seed=7, guidance=3.0)
    assert same(result, again)


def test_a_path_a_picture_and_an_array_are_the_same(editor, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    images = [picture(), Image.fromarray(picture()), tmp_path / "a.png", str(tmp_path / "a.png")]
    results = editor.edit_batch(images, ["remove the star"] * 4, seeds=[0] * 4)
    assert all(same(results[0], result) for result in results[1:])
    assert "source" not in results[0].settings
    saved = results[3].save(tmp_path / "edited.png")
    assert provenance.read_settings(tmp_path / "edited.png") == saved
    assert saved["source"] == "a.png" and saved["weights_sha256"] == editor.fingerprint
    assert saved["source_sha256"] == provenance.sha256(tmp_path / "a.png")
    with pytest.raises(ValueError, match="expected a name ending in .png"):
        results[0].save(tmp_path / "edited.jpg")


def test_each_row_is_what_it_is_alone(editor):
    images = [picture(i, 40 + i, 24) for i in range(3)]
    words = ["make the ball blue", "remove the star", "add a red tent"]
    seen = []
    batch = editor.edit_batch(images, words, seed=5, progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for i, row in enumerate(batch):
        assert row.settings["seed"] == 5 + i
        assert same(row, editor.edit(images[i], words[i], seed=5 + i))
    assert not same(batch[0], editor.edit(images[0], words[0], seed=6))


def test_each_row_is_what_it_is_on_one_device(editor, tiny_model):
    spread = Editor.from_pretrained(tiny_model, mesh=make_mesh(MeshConfig()))
    images, words = [picture(i) for i in range(3)], ["make the ball blue"] * 3
    assert spread.rows == 8
    for one, other in zip(
        editor.edit_batch(images, words), spread.edit_batch(images, words), strict=True
    ):
        assert same(one, other)


def test_several_rows_at_once_do_not_change_a_row(tiny_model):
    editor = Editor.from_pretrained(tiny_model, rows_per_device=3)
    images, words = [picture(i) for i in range(4)], ["make the ball blue"] * 4
    batch = editor.edit_batch(images, words)
    assert editor.rows == 3 and batch[0].settings["rows_per_device"] == 3
    for i, row in enumerate(batch):
        assert same(row, editor.edit(images[i], words[i], seed=i))
    with pytest.raises(ConfigError, match="rows_per_device=0: expected 1 or more"):
        Editor.from_pretrained(tiny_model, rows_per_device=0)


def test_where_the_text_is_read_changes_no_edit(editor, tiny_model, tmp_path):
    images, words = [picture(i) for i in range(3)], ["remove the star", "add a tent"] * 2
    usual = editor.edit_batch(images, words[:3])
    options = {"text_on_host": True, "text_features": tmp_path / "texts.safetensors"}
    for _ in range(2):  # the second time the file is complete
        other = Editor.from_pretrained(tiny_model, **options).edit_batch(images, words[:3])
        assert all(same(a, b) for a, b in zip(usual, other, strict=True))
        assert other[0].settings["text_on_host"] and "text_on_host" not in usual[0].settings


def test_other_words_seeds_and_numbers_do_not_compile_again(editor, monkeypatch):
    editor.edit(picture(), "make the ball blue")
    monkeypatch.setattr(rng, "key_for", None)  # tracing would call it
    editor.edit(picture(1, 9, 30), "remove the star", seed=3, guidance=1.0, top_p=0.5)
    editor.edit(picture(), "add a tent", temperature=[1.0, 0.5, 0.1])
    monkeypatch.setattr(
        "jaxedit.editor.pipeline_varedit.edit_pixels", None
    )  # compiling would lower it
    editor.compile()


def test_greedy_ignores_the_seed(editor):
    a, b = (editor.edit(picture(), "remove the ball", seed=s, greedy=True) for s in (0, 1))
    assert same(a, b) and a.settings["greedy"]


def test_the_function_below_is_pure_and_public(editor):
    square = np.full((1, editor.size, editor.size, 3), 255, np.uint8)
    rows = sample_varedit.Rows(square, *editor.text(["remove the ball"]), np.array([3], np.int32))
    ones = np.ones(3, np.float32)
    numbers = {"guidance": ones, "temperature": ones, "top_p": np.float32(1)}
    pixels, bits = sample_varedit.edit_pixels(
        editor.params,
        rows,
        numbers,
        config=editor.config,
        greedy=False,
        dtype="float32",
    )
    assert pixels.shape == square.shape and pixels.dtype == np.uint8 and len(bits) == 3
    options = {"guidance": 1.0, "temperature": 1.0, "top_p": 1.0}
    result = editor.edit(square[0], "remove the ball", seed=3, **options)
    np.testing.assert_array_equal(result.image, pixels[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"guidance": float("nan")}, "sample.guidance=nan: expected a finite number"),
        ({"guidance": (1.0, 2.0)}, "expected one number or 3 numbers"),
        ({"temperature": 0.0}, "sample.temperature=0.0: expected a positive number"),
        ({"top_p": 1.5}, r"sample.top_p=1.5: expected a number in \(0, 1\]"),
        ({"seed": -1}, "seed=-1: expected 0 to 2147483647"),
        ({"seed": 2**31}, "seed=2147483648"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"method": "editar"}, "method='editar': expected one of varedit"),
        ({"guidence": 3.0}, "no option of method varedit; did you mean guidance?"),
        ({"top_k": 3}, r"top_k=3: an option of method editar or editar\+erec, found varedit"),
    ],
)
def test_wrong_options_are_named(editor, options, message):
    with pytest.raises(ConfigError, match=message):
        editor.edit(picture(), "make the ball blue", **options)


@pytest.mark.parametrize(
    "words, message",
    [
        ("", "instruction=''"),
        (" \n", "some words"),
        ("\u200b\u2060", "some words"),  # of no width
        (None, "None"),
        ("half a \ud83d", "half a surrogate pair"),
        ("ball " * 40, "has 41 tokens: expected at most 32"),
    ],
)
def test_wrong_instructions_are_named(editor, words, message):
    with pytest.raises(ConfigError, match=message):
        editor.edit(picture(), words, strict=True)


def test_a_long_instruction_is_cut_at_its_end_and_said_once(editor, caplog):
    long = "ball " * 40
    results = editor.edit_batch([picture()] * 2, [long, "ball " * 31], seeds=[0, 0])
    assert same(*results)  # 31 words and the closing token
    assert results[0].settings["instruction"] == long
    editor.edit(picture(), long)
    (said,) = caplog.messages
    assert said.endswith("has 41 tokens: only the first 31 are read")


def test_lengths_must_agree(editor):
    with pytest.raises(ConfigError, match="1 images and 2 instructions"):
        editor.edit_batch([picture()], ["a", "b"])
    with pytest.raises(ConfigError, match="0 images"):
        editor.edit_batch([], [])
    with pytest.raises(ConfigError, match="2 seeds for 1 pictures"):
        editor.edit_batch([picture()], ["a"], seeds=[1, 2])


def test_an_image_tokenizer_is_no_editor(editor, tiny_model, tmp_path):
    config, params, _ = pretrained.load_pretrained(tiny_model, ["bsq"])
    alone = type(config)(model_type="bsq", bsq=config.bsq)
    pretrained.save_pretrained(tmp_path / "bsq", alone, params)
    with pytest.raises(ConfigError, match="model_type='bsq': expected an editor, one of varedit"):
        Editor.from_pretrained(tmp_path / "bsq")


def test_notebooks_show_a_result_and_a_grid_of_seeds(editor):
    result = editor.edit(picture(), "make the ball blue", seed=1)
    np.testing.assert_array_equal(result.source, picture())
    assert 'alt="make the ball blue"' in result._repr_html_()
    grid = editor.grid(picture(), "make the ball blue", seeds=(1, 2))
    assert grid.width > 3 * 200 and "source=" not in repr(result)
    with pytest.raises(ConfigError, match="seeds: none: expected a seed for each edit"):
        editor.grid(picture(), "make the ball blue", seeds=())
