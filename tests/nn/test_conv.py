import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import ConfigError
from jaxedit.nn.conv import AttentionBlock, ResBlock, Upsample, downsample, group_norm

KEY = rng.key_for(0, "test")


def test_group_norm_is_exact_far_from_zero():
    x = 20 + jax.random.normal(KEY, (1, 8, 8, 64))
    norm = group_norm(64, name="norm")
    out = norm.apply(norm.init(KEY, x), x)
    groups = np.array(x, np.float64).reshape(64, 32, 2)
    mean, var = groups.mean((0, 2), keepdims=True), groups.var((0, 2), keepdims=True)
    expected = ((groups - mean) / np.sqrt(var + 1e-6)).reshape(x.shape)
    np.testing.assert_allclose(out, expected, atol=2e-5)


def test_group_norm_divides_by_32_or_24():
    assert group_norm(96, name="norm").num_groups == 32
    assert group_norm(48, name="norm").num_groups == 24
    with pytest.raises(ConfigError, match="40 channels: expected a multiple of 32 or 24"):
        group_norm(40, name="norm")


def test_downsample_pads_right_and_below():
    layer = downsample(1, name="down")
    params = {"kernel": jnp.ones((3, 3, 1, 1)), "bias": jnp.zeros(1)}
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    out = layer.apply({"params": params}, x)[0, :, :, 0]
    np.testing.assert_array_equal(out, [[45, 39], [66, 50]])  # 0+1+2+4+5+6+8+9+10 first


def test_upsample_repeats_then_convolves():
    layer = Upsample()
    identity = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
    params = {"conv": {"kernel": identity, "bias": jnp.zeros(1)}}
    out = layer.apply({"params": params}, jnp.array([[1.0, 2.0]])[None, :, :, None])
    np.testing.assert_array_equal(out[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_block_with_zero_kernels_is_its_skip():
    x = jax.random.normal(KEY, (1, 4, 4, 32))
    params = jax.eval_shape(ResBlock(32).init, KEY, x)["params"]
    assert set(params) == {"norm1", "conv1", "norm2", "conv2"}
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params)
    np.testing.assert_array_equal(ResBlock(32).apply({"params": zeros}, x), x)
    wider = jax.eval_shape(ResBlock(64).init, KEY, x)["params"]
    assert wider["shortcut"]["kernel"].shape == (1, 1, 32, 64)


def test_attention_averages_where_all_scores_are_equal():
    x = jax.random.normal(KEY, (1, 2, 3, 32))
    block = AttentionBlock()
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(block.init, KEY, x)["params"]
    )
    np.testing.assert_array_equal(block.apply({"params": zeros}, x), x)  # the skip
    identity = jnp.eye(32)[None, None]
    params = zeros | {
        "norm": {"scale": jnp.zeros(32), "bias": jnp.arange(32.0)},
        "v": {"kernel": identity, "bias": jnp.zeros(32)},
        "proj": {"kernel": 2 * identity, "bias": jnp.ones(32)},
    }
    out = block.apply({"params": params}, x) - x
    expected = jnp.broadcast_to(2 * jnp.arange(32.0) + 1, x.shape)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_attention_sees_every_position():
    x = jax.random.normal(KEY, (1, 2, 3, 32))
    block = AttentionBlock()
    params = block.init(KEY, x)
    turned = block.apply(params, x[:, ::-1, ::-1])[:, ::-1, ::-1]
    np.testing.assert_allclose(turned, block.apply(params, x), atol=1e-5)  # it knows no places
    moved = block.apply(params, x.at[0, 0, 0].multiply(-3)) - block.apply(params, x)
    assert (jnp.abs(moved).max(-1) > 1e-6).all()
