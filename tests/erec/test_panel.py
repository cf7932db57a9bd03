import types

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import ERecConfig
from jaxedit.erec.panel import PanelInputs, panel, panel_of


def view(size=64, grid=8):
    picture = np.full((size, size, 3), 200, np.uint8)
    picture[: size // 2] = (10, 20, 30)
    nll = np.full((grid, grid), 2.5, np.float32)
    nll[0, 0] = np.inf
    js = np.zeros((grid, grid), np.float32)
    js[-1, -1] = 1
    return PanelInputs(picture, picture, picture, picture, nll, 2 * nll, js, js > 0.5)


def test_cells_show_the_pictures_and_the_maps():
    sheet = np.asarray(panel(view(), ERecConfig(), "make the circle blue"))
    colours = {tuple(c) for c in sheet.reshape(-1, 3)}
    assert {(10, 20, 30), (200, 200, 200), (0, 0, 0), (10, 8, 40), (252, 255, 190)} <= colours
    assert sheet.shape[1] == 4 * 256 + 5 * 12
    small, large = (panel(view(size, 16), ERecConfig()) for size in (256, 512))
    assert large.width - 60 == 2 * (small.width - 60)
    huge = panel(view(2048, 16), ERecConfig())
    assert huge.width == large.width


def test_maps_without_any_finite_number():
    damaged = view()._replace(nll_rec=np.full((8, 8), np.inf), nll_edit=np.full((8, 8), np.inf))
    assert panel(damaged, ERecConfig()).width > 0


def test_wide_pictures_stand_where_the_maps_do():
    wide = [Image.new("RGB", (600, 300), "red")] * 4
    sheet = np.asarray(panel(PanelInputs(*wide, *view()[4:]), ERecConfig()))
    is_red = (sheet == (255, 0, 0)).all(-1)
    assert 0 <= 4 * 512 * 256 - is_red.sum() <= 4 * 512  # the border row is blended
    assert (sheet == (252, 255, 190)).all(-1).any()


def test_panel_of_a_result():
    v = view()
    maps = {"nll_rec": v.nll_rec, "nll_edit": v.nll_edit, "js": v.js}
    taus = {"tau_js": 0.5, "tau_low": 3.0, "tau_high": 4.0}
    source = Image.fromarray(v.source)
    result = types.SimpleNamespace(
        image=source,
        mask=v.mask,
        diagnostics={"seconds": 1.0, "reconstruction": source, "raw_edit": source, **maps},
        settings={
            "method": "editar+erec",
            "instruction": "remove the star",
            "fit": "crop",
            **taus,
        },
    )
    expected = panel(v, ERecConfig(**taus), "remove the star")
    np.testing.assert_array_equal(panel_of(source, result), expected)
    wide = Image.new("RGB", (96, 64), "red")  # only its middle was seen
    wide.paste(source, (16, 0))
    np.testing.assert_array_equal(panel_of(wide, result), expected)
    result.diagnostics, result.settings["method"] = {"seconds": 1.0}, "editar"
    with pytest.raises(ValueError, match="method='editar': expected an edit"):
        panel_of(source, result)


def test_pictures_of_different_sizes_are_refused():
    small = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="expected one size"):
        panel(view()._replace(raw_edit=small), ERecConfig())
