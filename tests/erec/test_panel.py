import numpy as np
import pytest

from jaxedit.config import ERecConfig
from jaxedit.erec.panel import View, panel


def view(size=64, grid=8):
    picture = np.full((size, size, 3), 200, np.uint8)
    picture[: size // 2] = (10, 20, 30)
    nll = np.full((grid, grid), 2.5, np.float32)
    nll[0, 0] = np.inf
    js = np.zeros((grid, grid), np.float32)
    js[-1, -1] = 1
    return View(picture, picture, picture, picture, nll, 2 * nll, js, js > 0.5)


def test_cells_show_the_pictures_and_the_maps():
    sheet = np.asarray(panel(view(), ERecConfig(), "make the circle blue"))
    colours = {tuple(c) for c in sheet.reshape(-1, 3)}
    assert {(10, 20, 30), (200, 200, 200), (0, 0, 0), (10, 8, 40), (252, 255, 190)} <= colours
    assert sheet.shape[1] == 4 * 256 + 5 * 12
    small, large = (panel(view(size, 16), ERecConfig()) for size in (256, 512))
    assert large.width - 60 == 2 * (small.width - 60)


def test_maps_without_any_finite_number():
    damaged = view()._replace(nll_rec=np.full((8, 8), np.inf), nll_edit=np.full((8, 8), np.inf))
    assert panel(damaged, ERecConfig()).width > 0


def test_pictures_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="S a multiple of 7"):
        panel(view()._replace(js=np.zeros((7, 7))), ERecConfig())
