import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import EditARConfig, MeshConfig, T5Config, TokenSampleConfig
from jaxedit.models.editar import init_null, init_params
from jaxedit.models.t5 import T5Encoder
from jaxedit.nn.layers import dense
from jaxedit.ops import int8
from jaxedit.sampling import next_token, token_loop
from jaxedit.sampling.decode_weights import unstack
from jaxedit.sampling.methods import TokenSampling, numbers_of
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.tree import map_with_path


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype)


def test_by_hand():
    kernel = np.array([[1.27, -2.0, 0.0], [-0.01, 127.0, 0.0], [0.3, 0.5, 0.0]], np.float32)
    matrix = int8.quantize(kernel)
    np.testing.assert_allclose(matrix.scale, [[0.01, 1.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(matrix.values, [[127, -2, 0], [-1, 127, 0], [30, 0, 0]])
    assert matrix.values.dtype == np.int8 and matrix.dtype == np.float32
    wanted = [[1.27, -2.0, 0.0], [-0.01, 127.0, 0.0], [0.3, 0.0, 0.0]]
    np.testing.assert_allclose(int8.dequantize(matrix), wanted, rtol=1e-6)


def test_no_entry_is_off_by_more_than_half_a_step():
    kernel = normal(3, 50, 20, dtype=jnp.bfloat16)
    matrix = int8.quantize(kernel)
    exact = matrix.values.astype(jnp.float32) * matrix.scale
    error = np.abs(np.asarray(exact) - kernel.astype(np.float32))
    assert (error <= 0.5001 * np.asarray(matrix.scale)).all()
    assert int8.dequantize(matrix).dtype == jnp.bfloat16
    first = int8.quantize(kernel[0])  # a stack gives the same as its matrices
    np.testing.assert_array_equal(matrix.values[0], first.values)
    np.testing.assert_array_equal(matrix.scale[0], first.scale)


@pytest.mark.parametrize("width", [32, 33])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products(monkeypatch, dtype, width):
    monkeypatch.setattr(int8, "PIECE", 100)
    x, matrix = (
        jnp.asarray(normal(2, 3, 24)),
        int8.quantize(normal(24, width, dtype=jnp.dtype(dtype))),
    )
    wide = x.astype(dtype).astype(np.float32)
    wanted = wide @ (matrix.values.astype(np.float32) * matrix.scale)
    found = int8.product(x, matrix)
    assert found.shape == (2, 3, width) and found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5)
    plain = int8.product(x, int8.dequantize(matrix))
    np.testing.assert_allclose(found, plain, atol=0.1 if dtype == "bfloat16" else 1e-5)


def test_a_dense_map_takes_integers_and_computes_in_its_own_dtype():
    layer, x = dense(6, 1.0, jnp.bfloat16), normal(2, 3, 4)
    kernel, bias = int8.quantize(normal(4, 6)), normal(6)
    variables = {"params": {"kernel": kernel, "bias": bias}}
    found = layer.apply(variables, x)
    plain = {"params": {"kernel": int8.dequantize(kernel), "bias": bias}}
    assert found.dtype == jnp.bfloat16
    wanted = np.asarray(layer.apply(plain, x), np.float32)
    np.testing.assert_allclose(np.asarray(found, np.float32), wanted, atol=0.1)


def test_wrong_kernels_are_named():
    with pytest.raises(ValueError, match=r"shape \(3,\), float32: expected floats \[...,in,out\]"):
        int8.quantize(jnp.ones(3))
    with pytest.raises(ValueError, match="int32"):
        int8.quantize(jnp.ones((2, 2), jnp.int32))


def test_only_kernels_of_blocks_become_integers():
    leaf = jnp.ones((2, 2))
    for path in ("transformer/first_block/mlp/up/kernel", "t5/blocks/attn/q/kernel"):
        assert isinstance(int8.quantize_if_kernel(path, leaf), int8.Int8)
    for path in ("head/kernel", "text/up/kernel", "blocks/ada_bias", "blocks/mlp/up/bias"):
        assert int8.quantize_if_kernel(path, leaf) is leaf


def test_on_a_mesh_it_is_the_same_and_lies_like_its_kernel():
    kernels = {"blocks": {"mlp": {"up": {"kernel": normal(3, 8, 12)}}, "ada_bias": normal(3, 6, 8)}}
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    alone = rules.place(kernels, None, int8.quantize_if_kernel)["blocks"]["mlp"]["up"]["kernel"]
    placed = rules.place(kernels, mesh, int8.quantize_if_kernel)
    spread = placed["blocks"]["mlp"]["up"]["kernel"]
    np.testing.assert_array_equal(spread.values, alone.values)
    np.testing.assert_array_equal(spread.scale, alone.scale)
    layout = rules.state_shardings(placed, mesh)["blocks"]["mlp"]["up"]["kernel"]
    assert spread.values.sharding.is_equivalent_to(layout.values, 3)
    assert spread.scale.sharding.is_equivalent_to(layout.scale, 3)
    assert spread.values.addressable_shards[0].data.shape == (3, 4, 6)
    assert spread.scale.addressable_shards[0].data.shape == (3, 1, 6)


def memory(function, *arguments):
    """Return (bytes of arguments, temporary bytes) of the compiled function."""
    analysis = jax.jit(function).lower(*arguments).compile().memory_analysis()
    return analysis.argument_size_in_bytes, analysis.temp_size_in_bytes


def test_scanned_layers_are_converted_one_at_a_time():
    config = T5Config(layers=8, width=128, heads=2, head_width=64, mlp_hidden=256, vocab_size=8)
    encoder, ids = T5Encoder(config), jnp.zeros((1, 2), jnp.int32)
    params = jax.eval_shape(lambda: encoder.init(rng.key_for(0, "init"), ids, ids == 0)["params"])
    small = jax.eval_shape(functools.partial(map_with_path, int8.quantize_if_kernel), params)

    def encode(params):
        return encoder.apply({"params": params}, ids, ids == 0)

    (plain, temporary), (less, extra) = memory(encode, params), memory(encode, small)
    layer = plain / config.layers
    assert less < 0.3 * plain and extra < temporary + layer


def test_unrolled_layers_stay_integers_between_tokens():
    config = EditARConfig(
        layers=5, width=128, heads=2, mlp_hidden=256, codes=8, grid=2, distill_width=0
    )
    config.text_tokens, config.text_width = 2, 8

    def arguments(is_int8):
        key = rng.key_for(0, "init")
        params, null = init_params(config, key), init_null(config, key)
        weights = unstack(config, params, null, "float32", int8=is_int8)
        prefix = next_token.prefill_image(weights, config, jnp.zeros((1, 4), jnp.int32))
        started = next_token.start(weights, config, prefix, jnp.zeros((1, 2, 2, 8)), slots=3)
        method = TokenSampling(jnp.zeros(1, jnp.int32), numbers_of(TokenSampleConfig()))
        state = token_loop.State(*started, jnp.int32(0))
        return weights, prefix, state, jax.tree.map(jnp.asarray, method)

    def decode(weights, prefix, state, method):
        return token_loop.decode(weights, config, prefix, state, method, steps=2)[1]

    shapes = [jax.eval_shape(functools.partial(arguments, is_int8)) for is_int8 in (False, True)]
    (plain, _), (less, extra) = (memory(decode, *given) for given in shapes)
    layer = plain / config.layers
    assert less < 0.3 * plain and extra < 2 * layer
