import dataclasses

import jax
import numpy as np
import pytest

from jaxedit import Editor
from jaxedit.config import ConfigError, MeshConfig
from jaxedit.data.pictures.canny import edge_map
from jaxedit.sharding.mesh import make_mesh

WORDS = "make the ball blue"


@pytest.fixture(scope="module")
def editor(tiny_editar):
    return Editor.from_pretrained(tiny_editar)


def picture(seed=0, side=16):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def same(a, b) -> bool:
    return np.array_equal(a.tokens[0], b.tokens[0]) and a.image.tobytes() == b.image.tobytes()


def test_an_edit_says_how_it_was_made(editor):
    result = editor.edit(np.zeros((10, 20, 3), np.uint8), WORDS, seed=7, top_k=5)
    assert result.image.size == (16, 16) and result.mask is None
    assert result.tokens[0].shape == (4, 4) and result.tokens[0].dtype == np.int32
    assert result.settings["method"] == "editar" and result.settings["top_k"] == 5
    assert "tau_js" not in result.settings


def test_erec_shows_its_maps(editor):
    result = editor.edit(picture(), WORDS, method="editar+erec", tau_js=0.1)
    assert result.mask.shape == (4, 4) and result.mask.dtype == bool
    assert {"js", "nll_rec", "nll_edit"} <= result.diagnostics.keys()
    assert result.diagnostics["reconstruction"].size == (16, 16)
    assert result.settings["tau_js"] == 0.1 and result.settings["recon_prompt"]
    raw = editor.edit(picture(), WORDS)
    assert result.diagnostics["raw_edit"].tobytes() == raw.image.tobytes()
    kept = editor.edit(picture(), WORDS, method="editar+erec", tau_js=2.0, hard_paste=True)
    assert not kept.mask.any() and kept.image.tobytes() == picture().tobytes()


@pytest.mark.parametrize("method", ["editar", "editar+erec"])
def test_each_row_is_what_it_is_alone(editor, tiny_editar, method):
    images, words = [picture(i) for i in range(3)], [WORDS, "remove the star", "add a tent"]
    batch = editor.edit_batch(images, words, seed=5, method=method)
    for i, row in enumerate(batch):
        assert same(row, editor.edit(images[i], words[i], seed=5 + i, method=method))
    several = Editor.from_pretrained(tiny_editar, rows_per_device=2)
    rows = several.edit_batch(images, words, seed=5, method=method)
    assert same(rows[2], several.edit(images[2], words[2], seed=7, method=method))


def test_a_mesh_changes_nothing(editor, tiny_editar):
    spread = Editor.from_pretrained(tiny_editar, mesh=make_mesh(MeshConfig()))
    images, words = [picture(i) for i in range(3)], [WORDS] * 3
    alone = editor.edit_batch(images, words)
    for one, other in zip(alone, spread.edit_batch(images, words), strict=True):
        assert same(one, other)


def test_the_second_instruction_reads_no_picture_again(editor, monkeypatch):
    editor.edit(picture(3), WORDS)
    monkeypatch.setattr("jaxedit.sampling.sample_editar.read_source", None)
    editor.edit(picture(3), "remove the star", seed=3, guidance=2.0, temperature=0.5, top_k=2)
    with pytest.raises(TypeError):
        editor.edit(picture(4), WORDS)


def test_an_edit_sends_its_inputs_alone(editor, capfd):
    editor.edit(picture(5), WORDS)
    capfd.readouterr()
    with jax.transfer_guard("log_explicit"):
        editor.edit(picture(6), WORDS, seed=1)
    sent = capfd.readouterr().err.count("host-to-device transfer")
    assert 5 <= sent <= 24  # pixels, mask, text, its mask, seed; numbers: not one for each token


def test_other_numbers_do_not_compile_again(editor):
    editor.edit(picture(), WORDS, method="editar+erec")
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxedit.rng.key_for", None)  # tracing would call it
        editor.edit(picture(), "add a tent", seed=9, method="editar+erec", dilation=5, top_p=0.5)
        patch.setattr(editor.pipeline, "_run", None)  # compiling would edit blank pictures
        editor.compile("editar+erec")


def test_progress_counts_tokens(editor):
    seen = []
    editor.edit_batch([picture()] * 2, [WORDS] * 2, progress=lambda *done: seen.append(done))
    assert seen[-1] == (32, 32) and seen[0][1] == 32


@pytest.mark.parametrize("mode", ["joint", "dual"])
def test_other_guidance(editor, mode):
    text = editor.edit(picture(), WORDS, guidance=3.0)
    other = editor.edit(picture(), WORDS, guidance=3.0, guidance_mode=mode)
    assert other.settings["guidance_mode"] == mode and not same(text, other)
    editor.edit(picture(), WORDS, guidance_mode=mode, method="editar+erec")


def test_greedy_ignores_the_seed_and_a_batch_may_share_its_noise(editor):
    a, b = (editor.edit(picture(), WORDS, seed=s, greedy=True) for s in (0, 1))
    assert same(a, b)
    options = {"method": "editar+erec", "gumbel_key": "batch"}
    one, two = editor.edit_batch([picture()] * 2, [WORDS] * 2, **options)
    assert same(one, two) and two.settings["seed"] == 0


def test_a_photo_becomes_its_edges(editor):
    photo = picture()
    drawn = editor.edit(photo, "a ball", task="canny")
    assert drawn.settings["task"] == "canny" and drawn.settings["instruction"] == "a ball"
    words = "given the edge image generate an image following the description a ball"
    assert same(drawn, editor.edit(edge_map(photo), words))
    assert not same(drawn, editor.edit(photo, "a ball", task="depth"))


def test_every_ablation_runs(editor):
    for change in (  # of decoding and of restoring at once: each pair is a program less
        {"noise": "independent", "refine": False},
        {"probabilities": "cond", "pixel_align": False},
        {"probabilities": "truncated", "upsampling": "bilinear", "clip_decoded": True},
        {"recon_guidance": "shared", "direct_replacement": True},
        {"recon_guidance": "none"},
    ):
        result = editor.edit(picture(), WORDS, method="editar+erec", **change)
        assert dataclasses.asdict(editor.config.erec) != change
        assert all(result.settings[name] == value for name, value in change.items())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"top_k": 0}, "sample.top_k=0: expected 1 to 40"),
        ({"top_k": 41}, "sample.top_k=41: expected 1 to 40"),
        ({"top_p": 0.0}, r"sample.top_p=0.0: expected a number in \(0, 1\]"),
        ({"guidance": float("nan")}, "sample.guidance=nan: expected a finite number"),
        ({"guidance_mode": "both"}, "sample.guidance_mode='both': expected text, joint or"),
        (
            {"tau_js": 0.5},
            r"tau_js=0.5: an option of method varedit\+erec or editar\+erec, found editar",
        ),
        ({"method": "editar+erec", "tau_js": float("nan")}, "erec.tau_js=nan: expected a number"),
        ({"method": "editar+erec", "dilation": 2}, "erec.dilation=2: expected an odd number"),
        ({"method": "varedit"}, r"method='varedit': expected one of editar, editar\+erec"),
        ({"task": "paint"}, "task='paint': expected one of depth, canny, segmentation"),
    ],
)
def test_wrong_options_are_named(editor, options, message):
    with pytest.raises(ConfigError, match=message):
        editor.edit(picture(), WORDS, **options)


def test_a_long_reconstruction_prompt_is_said_to_be_cut(editor, caplog):
    options = {"method": "editar+erec", "recon_prompt": "ball " * 200}
    editor.edit(picture(), WORDS, **options)
    assert "has 201 tokens: only the first" in caplog.text
    with pytest.raises(ConfigError, match="has 201 tokens: expected at most"):
        editor.edit(picture(), WORDS, strict=True, **options)


def test_erec_needs_editars_weights(tiny_model):
    varedit = Editor.from_pretrained(tiny_model)
    with pytest.raises(ConfigError, match=r"method='editar\+erec': expected one of varedit"):
        varedit.edit(picture(), WORDS, method="editar+erec")
    with pytest.raises(ConfigError, match="task='depth': expected EditAR's weights"):
        varedit.edit(picture(), WORDS, task="depth")
