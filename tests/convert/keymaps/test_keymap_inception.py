import jax
from both_ways import assert_exact, made_shapes

from jaxedit.convert.keymaps.keymap_inception import KEYMAP
from jaxedit.models.inception import init_params
from jaxedit.sharding.rules import axes_of


def test_every_array_survives_the_way_and_back():
    expected = made_shapes(init_params, jax.random.key(0))
    names = ("stem/Conv2d_1a_3x3/kernel", "Mixed_6c/branch7x7_2/kernel", "Mixed_7b/branch1x1/mean")
    assert_exact(KEYMAP, {path: expected[path] for path in names})
    assert all(axes_of(f"inception/{path}") == () for path in expected)
