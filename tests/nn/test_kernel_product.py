import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.nn import kernel_product
from jaxedit.nn.kernel_product import Maps
from jaxedit.nn.layers import dense
from jaxedit.ops.interleaved import interleave
from jaxedit.ops.low_rank import LowRank, to_dense


def test_columns_of_each_map_by_hand():
    assert Maps((4, 2, 2), first=1, head_width=0).columns == [(4, 6), (6, 8)]
    assert Maps((4, 2, 2), first=1, head_width=0).skipped == 4


def test_heads_are_multiplied_as_channels_are():
    x = jax.random.normal(jax.random.key(0), (2, 3, 8))
    plain, heads = (dense(5, 0.5, jnp.float32, head_width=width) for width in (0, 4))
    params = plain.init(jax.random.key(1), x)
    np.testing.assert_allclose(heads.apply(params, x), plain.apply(params, x), atol=1e-6)


def test_low_rank_additions_of_each_map():
    normal = jax.random.normal
    shapes = (2, 8), (8, 12), (8, 2), (2, 12)
    x, kernel, a, b = (normal(jax.random.key(i), shape) for i, shape in enumerate(shapes))
    matrix = LowRank(kernel, a, b, 0.5)
    layer = dense(12, 0.5, jnp.float32, use_bias=False, maps=Maps((6, 2, 4), 0, 2))
    found = layer.apply({"params": {"kernel": matrix}}, x)
    expected = np.split(x @ to_dense(matrix), (6, 8), axis=-1)
    for got, wanted in zip(found, expected, strict=True):
        assert got.shape == (2, wanted.shape[1] // 2, 2)
        np.testing.assert_allclose(got.reshape(2, -1), wanted, atol=1e-5)


@pytest.mark.parametrize("rows, is_flat", [(5, True), (700, False)])
def test_on_a_tpu_products_of_few_rows_or_shared_kernels_are_single(monkeypatch, rows, is_flat):
    layer, x = dense(12, 0.1, jnp.float32, use_bias=False, parts=3), jnp.ones((1, rows, 4))
    params = layer.init(jax.random.key(0), x)
    kept = {"params": {"kernel": interleave(params["params"]["kernel"], (4, 4, 4), 2)}}
    expected = layer.apply(params, x)
    monkeypatch.setattr(kernel_product, "is_on_tpu", lambda: True)
    for variables, is_single in ((params, is_flat), (kept, True)):
        np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-6)
        program = str(jax.make_jaxpr(layer.apply)(variables, x))
        assert ("optimization_barrier" in program) == is_single
