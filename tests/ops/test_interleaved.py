import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ops import int8
from jaxedit.ops.interleaved import interleave


def test_each_block_has_a_piece_of_every_map():
    kernel = jnp.array([[11, 12, 13, 14, 21, 22]])  # a map of four columns, and a map of two
    found = interleave(kernel, (4, 2), 2)
    assert found.kernel.tolist() == [[11, 12, 21, 13, 14, 22]] and found.pieces == 2
    assert found.without(4).kernel.tolist() == [[21, 22]]
    assert interleave(kernel, (4, 2), 1).kernel.tolist() == kernel.tolist()


@pytest.mark.parametrize("is_int8", [False, True])
def test_products_come_out_by_map(is_int8):
    generator = np.random.default_rng(0)
    kernel = jnp.asarray(generator.standard_normal((5, 24)), jnp.float32)
    kernel = int8.quantize(kernel) if is_int8 else kernel
    x = jnp.asarray(generator.standard_normal((2, 3, 5)), jnp.float32)
    plain = int8.product(x, kernel).reshape(2, 3, 3, 8)
    cut = interleave(kernel, (8, 8, 8), 4)
    product = int8.product(x, cut.kernel)
    np.testing.assert_allclose(cut.by_map(product, 3), plain, rtol=1e-6)
    blocks = cut.by_map(product, 0)  # each with two columns of every map
    np.testing.assert_allclose(blocks[..., 1, :2], plain[..., 0, 2:4], rtol=1e-6)


def test_widths_that_cannot_be_cut():
    with pytest.raises(TypeError, match="cannot reshape"):
        interleave(jnp.zeros((2, 6)), (3, 3), 2)
