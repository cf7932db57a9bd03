import numpy as np
import pytest

from jaxedit.checkpoints.lazy_tensor import whole
from jaxedit.convert.keymaps.key_rules import CONV, LINEAR, Layout, Rule, dense, renaming, under


@pytest.mark.parametrize("layout", [LINEAR, CONV, Layout((2,), 3), Layout((3, 1), 4)])
def test_layouts_invert(layout):
    shape = [axis + 2 if axis in layout.axes else 1 for axis in range(layout.rank)]
    array = np.arange(np.prod(shape)).reshape(shape)
    assert layout.fits(array.shape)
    for stacked in (False, True):
        param = layout.forward(array, stacked=stacked)
        assert param.shape == (1,) * stacked + tuple(axis + 2 for axis in layout.axes)
        back = layout.inverse(param[...], whole(param.shape))
        np.testing.assert_array_equal(back[...], array)


def test_layouts_by_hand():
    array = np.arange(16).reshape(2, 2, 2, 2)
    assert CONV.forward(array)[1, 0, 1, 0] == array[0, 1, 1, 0]
    np.testing.assert_array_equal(LINEAR.forward(array[0, 0])[...], [[0, 2], [1, 3]])


def test_other_ranks_and_lengths_do_not_fit():
    assert not LINEAR.fits((2,)) and not LINEAR.fits((2, 3, 1))
    assert Layout((1,), 2).fits((1, 3)) and not Layout((1,), 2).fits((2, 3))


def test_rules_may_be_nested():
    weight, bias = under("a.{}.", "a[{}-1]/", under("b.", "b/", dense("c", "d")))
    assert weight == Rule(("a.{}.b.c.weight",), "a[{}-1]/b/d/kernel", LINEAR)
    assert bias.keys == ("a.{}.b.c.bias",) and bias.first == 1
    assert Rule("a", "a").first is None and Rule("a.{}", "a[{}]").first == 0


def test_renaming_by_the_first_pattern():
    rename = renaming((r"qkv\.(\d)", r"q.\1", r"k.\1"), (r"(.*)\.\d", r"\1"))
    assert rename(["qkv.3", "x.4", "y"]) == {"qkv.3": ("q.3", "k.3"), "x.4": ("x",)}
