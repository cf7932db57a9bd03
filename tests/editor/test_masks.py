"""Masks through the whole editor: nothing outside changes, whatever the picture's shape."""

import logging

import jax
import numpy as np
import pytest
from PIL import Image

from jaxedit import Editor
from jaxedit.config import ConfigError
from jaxedit.data.transforms import Fit, to_square

WORDS = "make the ball blue"
SHAPES = [(40, 24), (24, 41), (16, 16), (90, 7), (33, 31)]
METHODS = ["varedit", "editar", "editar+erec"]


@pytest.fixture(scope="module")
def editors(tiny_model, tiny_editar):
    two = Editor.from_pretrained(tiny_editar, rows_per_device=2)
    return {
        "varedit": Editor.from_pretrained(tiny_model, rows_per_device=2),
        "editar": two,
        "editar+erec": two,
    }


def picture(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def middle(width, height):
    """A mask of the middle of a picture."""
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height - height // 3, width // 3 : width - width // 3] = True
    return mask


def same(a, b):
    tokens = all(np.array_equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))
    return tokens and a.image.tobytes() == b.image.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_outside_the_mask_the_picture_stays_bit_for_bit(editors, method):
    editor = editors[method]
    for fit, keep_size in (("pad", False), ("crop", True)):
        for size in SHAPES:
            image, mask = picture(*size), middle(*size)
            options = {"method": method, "fit": fit, "keep_size": keep_size, "tau_js": None}
            if method == "editar+erec":
                options["tau_js"] = 0.0  # edit everything that the mask allows
            result = editor.edit(image, WORDS, mask=mask, **options)
            source, edited = np.asarray(image), np.asarray(result.image)
            np.testing.assert_array_equal(edited[~mask], source[~mask])
            assert (edited[mask] != source[mask]).any(), size
            assert result.mask.shape == (4, 4) and result.mask.any()
            assert result.settings["mask_convention"] == "white"
            assert result.settings["feather"] == 0 if max(size) < 65 else 1


@pytest.mark.parametrize("method", METHODS)
def test_a_cropped_result_is_the_models_square(editors, method):
    editor, image, mask = editors[method], picture(40, 24), middle(40, 24)
    mask[:, :20] = True
    result = editor.edit(image, WORDS, mask=mask, method=method, fit="crop")
    fit = Fit("crop", method.partition("+")[0])
    square = np.asarray(to_square(image, editor.size, fit))
    cells = np.kron(result.mask, np.ones(2 * (editor.size // 4,), bool))
    assert not cells.all() and result.image.size == 2 * (editor.size,)
    np.testing.assert_array_equal(np.asarray(result.image)[~cells], square[~cells])


@pytest.mark.parametrize("method", METHODS)
def test_rows_with_and_without_a_mask_share_a_program(editors, method):
    editor, images = editors[method], [picture(40, 24, i) for i in range(3)]
    mask, options = middle(40, 24), {"method": method}
    if method == "editar+erec":
        options |= {"tau_js": 0.0, "use_nll_low": False, "use_nll_high": False}
    usual = editor.edit_batch(images, [WORDS] * 3, **options)
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxedit.rng.key_for", None)  # tracing would call it
        masks = [None, mask, np.ones_like(mask)]
        batch = editor.edit_batch(images, [WORDS] * 3, masks=masks, **options)
        alone = editor.edit(images[1], WORDS, seed=1, mask=mask, **options)
    assert same(batch[0], usual[0]) and same(batch[2], usual[2])
    assert not same(batch[1], usual[1]) and same(batch[1], alone)
    assert "feather" not in batch[2].settings and batch[1].mask.any()
    if method != "editar+erec":
        assert batch[0].mask is None and batch[2].mask is None


def test_tokens_outside_are_the_sources(editors):
    image, mask = picture(16, 16), np.zeros((16, 16), bool)
    mask[4:8, 8:11] = True  # within one token of 4 x 4 pixels
    editor = editors["editar"]
    codes, seen = editor.pipeline._read_source(np.asarray(image)[None].repeat(2, 0)).codes[0], set()
    for seed in range(4):
        tokens = editor.edit(image, WORDS, mask=mask, seed=seed).tokens[0].reshape(-1)
        changed = set(np.flatnonzero(tokens != codes).tolist())
        assert changed <= {1 * 4 + 2}
        seen |= changed
    assert seen


def test_the_seam_is_inside(editors):
    image, mask = picture(40, 24), middle(40, 24)
    hard, soft = (
        np.asarray(editors["varedit"].edit(image, WORDS, mask=mask, feather=f).image)
        for f in (0, 2)
    )
    source = np.asarray(image)
    np.testing.assert_array_equal(soft[~mask], source[~mask])
    assert (soft != hard).any((1, 2)).nonzero()[0].tolist() == list(range(8, 16))
    np.testing.assert_array_equal(soft[10:14, 15:25], hard[10:14, 15:25])


def test_erecs_mask_and_the_given_mask(editors):
    image, mask = picture(16, 16), middle(16, 16)
    edit = editors["editar+erec"].edit
    options = {"method": "editar+erec", "mask": mask}
    cells = edit(image, WORDS, **options, tau_js=0.0, use_nll_low=False, use_nll_high=False).mask
    own = edit(image, WORDS, **options, tau_js=2.0).mask
    given = edit(image, WORDS, **options, tau_js=2.0, mask_mode="given").mask
    assert cells.any() and not cells.all() and not own.any()
    np.testing.assert_array_equal(given, cells)
    free = edit(image, WORDS, method="editar+erec", tau_js=2.0, mask_mode="given")
    assert not free.mask.any()  # no mask is given: ERec's own


@pytest.mark.parametrize(
    "mask, options, message",
    [
        (np.zeros((24, 40), bool), {}, "mask: an empty mask: no pixel is lighter"),
        (np.ones((24, 24), bool), {}, "mask: 24x24 pixels, the picture has 40x24: expected"),
        (np.eye(24, 40, dtype=bool), {"task": "canny"}, "task='canny': expected no mask"),
        (np.eye(24, 40, dtype=bool), {"feather": -1}, "feather=-1: expected 0 to 254 pixels"),
        (np.eye(24, 40, dtype=bool), {"feather": 1.5}, "feather=1.5: expected 0 to 254 pixels"),
        (np.arange(40) < np.full((24, 1), 3), {}, "mask: marks nothing in the middle square"),
    ],
)
def test_bad_masks_are_named(editors, mask, options, message):
    with pytest.raises(ConfigError, match=message):
        editors["editar"].edit(picture(40, 24), WORDS, mask=mask, **options)


def test_masks_are_counted_and_full_ones_said(editors, caplog):
    caplog.set_level(logging.WARNING)
    image = picture(40, 24)
    with pytest.raises(ConfigError, match="1 masks for 2 images: expected one for each"):
        editors["varedit"].edit_batch([image] * 2, [WORDS] * 2, masks=[None])
    editors["varedit"].edit(image, WORDS, mask=np.ones((48, 80), bool))
    assert [message.split(": ")[-1] for message in caplog.messages] == [
        "the mask is resized",
        "the same as no mask",
    ]
