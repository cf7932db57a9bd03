import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import ConfigError, PretrainedConfig, T5Config
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_t5 import KEYMAP
from jaxedit.models.t5 import T5Encoder
from jaxedit.ops.relative_position import position_buckets

TINY = T5Config(vocab_size=40, width=16, head_width=8, mlp_hidden=24, layers=2, heads=3)


def reference(golden, name):
    arrays, description = golden(name)
    c = description["config"]
    config = T5Config(
        vocab_size=c["vocab_size"],
        width=c["d_model"],
        head_width=c["d_kv"],
        mlp_hidden=c["d_ff"],
        layers=c["num_layers"],
        heads=c["num_heads"],
        position_buckets=c["relative_attention_num_buckets"],
        position_max_distance=c["relative_attention_max_distance"],
        norm_eps=c["layer_norm_epsilon"],
    )
    state = {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}
    return arrays, config, from_torch(KEYMAP, state), description["tolerance"]["hidden"]


@pytest.mark.parametrize("name", ["t5_encoder_tiny", "t5_encoder_dkv_mismatch_long"])
def test_release_outputs_even_at_padding(golden, name):
    arrays, config, params, tolerance = reference(golden, name)
    ids, mask = arrays["in/input_ids"], arrays["in/attention_mask"].astype(bool)
    assert not mask.all()
    out = jax.jit(T5Encoder(config).apply)({"params": params}, ids, mask)
    np.testing.assert_allclose(out, arrays["out/last_hidden_state"], atol=tolerance)


def test_release_position_bias(golden):
    arrays, config, params, _ = reference(golden, "t5_encoder_dkv_mismatch_long")
    buckets = position_buckets(150, config.position_buckets, config.position_max_distance)
    bias = params["position_bias"][buckets].transpose(2, 0, 1)
    np.testing.assert_array_equal(bias, arrays["out/position_bias"][0])


def test_buckets_by_hand():
    row = position_buckets(200, 32, 128)[0]  # query 0, keys ahead: buckets 16..31
    assert list(row[:9]) == [0, 17, 18, 19, 20, 21, 22, 23, 24]
    assert row[16] == 16 + 10 and row[32] == 16 + 12 and row[127] == row[199] == 31
    column = position_buckets(200, 32, 128)[:, 0]  # keys behind: buckets 0..15
    assert list(column) == [0, *(row[1:] - 16)]


def test_padding_is_not_attended_to():
    params = T5Encoder(TINY).init(jax.random.key(0), jnp.zeros((1, 4), int), jnp.ones((1, 4), bool))
    ids, mask = np.arange(12).reshape(2, 6) % 40, np.ones((2, 6), bool)
    mask[:, 4:] = False
    changed = np.where(mask, ids, 39)
    a, b = (T5Encoder(TINY).apply(params, i, mask)[:, :4] for i in (ids, changed))
    np.testing.assert_array_equal(a, b)


def test_bfloat16_stays_close_to_float32():
    ids, mask = np.arange(10)[None], np.ones((1, 10), bool)
    params = T5Encoder(TINY).init(jax.random.key(0), ids, mask)
    exact, rounded = (T5Encoder(TINY, d).apply(params, ids, mask) for d in ("float32", "bfloat16"))
    assert rounded.dtype == jnp.float32
    np.testing.assert_allclose(rounded, exact, atol=0.1)


def test_flan_t5_xl_has_its_published_size():
    ids, mask = jnp.zeros((1, 8), int), jnp.ones((1, 8), bool)
    params = jax.eval_shape(T5Encoder(T5Config()).init, jax.random.key(0), ids, mask)["params"]
    layer = 4 * 2048 * 2048 + 3 * 2048 * 5120 + 2 * 2048
    assert tree.count(params) == 24 * layer + 32128 * 2048 + 32 * 32 + 2048 == 1_223_527_424
    assert tree.flatten(params)["blocks/mlp/gate/kernel"].shape == (24, 2048, 5120)


def test_unknown_key_is_named():
    with pytest.raises(ValueError, match="unexpected keys: encoder.block.0.layer.2.x"):
        from_torch(KEYMAP, {"encoder.block.0.layer.2.x": np.zeros(1)})


def test_sizes_that_cannot_work():
    with pytest.raises(ConfigError, match="t5.heads=0: expected a positive whole number"):
        PretrainedConfig(model_type="t5", t5=T5Config(heads=0)).validate()
    with pytest.raises(ConfigError, match="t5 config lacks 't5'"):
        PretrainedConfig(model_type="t5").validate()


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_sums_that_outgrow_float16(dtype, bound):
    """Flan-T5's do, in its MLP; the residual stream before them is small."""
    config = T5Config(vocab_size=40, width=64, head_width=16, mlp_hidden=128, layers=3, heads=4)
    ids, mask = np.arange(10)[None], np.ones((1, 10), bool)
    params = T5Encoder(config).init(jax.random.key(0), ids, mask)["params"]
    for name, factor in (("gate", 4), ("up", 4), ("down", 1e5)):
        params["blocks"]["mlp"][name]["kernel"] *= factor
    forward = jax.jit(
        lambda params, dtype: T5Encoder(config, dtype).apply({"params": params}, ids, mask),
        static_argnums=1,
    )
    exact, rounded = forward(params, "float32"), forward(tree.cast(params, dtype), dtype)
    assert rounded.dtype == jnp.float32
    assert np.linalg.norm(rounded - exact) < bound * np.linalg.norm(exact)
