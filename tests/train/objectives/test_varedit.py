import copy
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.checkpoints.pretrained import load_pretrained, save_pretrained
from jaxedit.config import (
    PRESETS,
    ConfigError,
    DataConfig,
    MeshConfig,
    PretrainedConfig,
    TrainConfig,
    VAREditTrainConfig,
)
from jaxedit.data.batch import EditBatch
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.ops import image, quantize
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.train.objectives.varedit import VAREditObjective

SCALES = ((1, 1), (2, 2), (4, 4))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A directory with a small untrained image tokenizer."""
    config = PretrainedConfig(model_type="bsq", bsq=small_model().bsq)
    model = BSQTokenizer(config.bsq)
    pixels = jnp.zeros((1, 8, 8, 3))
    params = jax.jit(model.init)(rng.key_for(1, "init"), pixels)["params"]
    return str(save_pretrained(tmp_path_factory.mktemp("bsq") / "weights", config, {"bsq": params}))


def small_model():
    model = copy.deepcopy(PRESETS["tiny"])
    model.bsq.channel_mult, model.bsq.stride, model.bsq.bits = (1, 1), 2, 4
    c = model.varedit
    c.depth, c.width, c.heads, c.mlp_hidden, c.bits, c.scales = 2, 32, 2, 64, 4, SCALES
    return model


def make_config(tokenizer, **changes):
    config = TrainConfig(
        model=small_model(),
        varedit=VAREditTrainConfig(tokenizer=tokenizer, **changes),
        data=DataConfig(image_size=8, text_tokens=6, batch_size=2),
        dtype="float32",
        remat="none",
    )
    config.validate()
    return config


def make_batch(seed=0):
    random = np.random.default_rng(seed)
    source, target = random.integers(0, 256, (2, 2, 8, 8, 3), np.uint8)
    ids = random.integers(1, 99, (2, 6)).astype(np.int32)
    return EditBatch(source, target, ids, ids > 20, None)


def frozen_of(objective):
    return rules.place(objective.frozen(), None)


def load(config):
    return VAREditObjective.from_config(config)


@pytest.fixture(scope="module")
def objective(tokenizer):
    return load(make_config(tokenizer))


@pytest.fixture(scope="module")
def params(objective):
    return jax.jit(objective.init)(rng.key_for(0, "init"))


KEY = rng.key_for(0, "loss")


def test_untrained_loss_is_one_bit_and_everything_trained_has_a_gradient(objective, params):
    step = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
    (loss, metrics), grads = step(params, frozen_of(objective), make_batch(), KEY, jnp.int32(0))
    np.testing.assert_allclose(loss, math.log(2), rtol=0.02)
    assert metrics.keys() == {"accuracy"} | {
        f"{n}_{k}" for n in ("loss", "accuracy") for k in (1, 2, 3)
    }
    assert params.keys() == {"transformer", "t5"}
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert jnp.isfinite(grad).all(), path
    for network in params:
        largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads[network]))
        assert largest > 0, network


def test_labels_are_the_tokenizers_bits(tokenizer, objective):
    batch, frozen = make_batch(), frozen_of(objective)["bsq"]
    clean = load(make_config(tokenizer, bit_noise=0.0))
    source, labels = jax.jit(clean.tokens)(frozen, batch, KEY)
    encode = jax.jit(functools.partial(clean.tokenizer.apply, method="encode"))
    raw = encode({"params": frozen}, image.to_float(np.concatenate([batch.source, batch.target])))
    expected = quantize.encode_labels(raw[2:], SCALES, patchify=False)
    np.testing.assert_array_equal(labels.bits, expected.bits)
    np.testing.assert_allclose(source, raw[:2].reshape(2, 16, 4), atol=1e-5)
    noisy = jax.jit(objective.tokens)(frozen, batch, KEY)[1]
    assert (noisy.bits[:, 0] == expected.bits[:, 0]).all()  # recorded before they are disturbed
    assert not np.allclose(noisy.inputs, expected.inputs)


def test_pictures_stay_on_their_devices(objective):
    mesh = make_mesh(MeshConfig(data=2), jax.devices()[:2])
    batch = rules.to_global(make_batch(), mesh)
    frozen = jax.device_put(frozen_of(objective)["bsq"], rules.replicated(mesh))
    with jax.set_mesh(mesh):
        program = jax.jit(objective.tokens).lower(frozen, batch, KEY).compile().as_text()
    assert not re.search(r"(collective-permute|all-to-all)(-start)?\(", program)


def test_dropped_text_does_not_matter(tokenizer, params):
    dropped = load(make_config(tokenizer, text_drop=1.0))
    one = make_batch()
    two = EditBatch(one.source, one.target, one.text_ids[::-1], one.text_mask, None)
    loss = jax.jit(dropped.loss)
    losses = [loss(params, frozen_of(dropped), b, KEY, jnp.int32(0))[0] for b in (one, two)]
    assert losses[0] == losses[1]


def test_sheet_and_export(objective, params, tmp_path):
    batch = make_batch()
    sheet = objective.sample_grid(params, frozen_of(objective), batch)
    assert sheet.shape == (2, len(objective.columns), 8, 8, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:, 0], batch.source)
    np.testing.assert_array_equal(sheet[:, 2], batch.target)
    objective.export(jax.tree.map(np.asarray, params), str(tmp_path / "weights"))
    config, loaded, _ = load_pretrained(tmp_path / "weights")
    assert config == objective.model
    jax.tree.map(np.testing.assert_array_equal, loaded, frozen_of(objective) | params)


def test_text_encoder_of_another_model_is_frozen(objective, params, tokenizer, tmp_path):
    objective.export(jax.tree.map(np.asarray, params), str(tmp_path / "weights"))
    other = load(make_config(tokenizer, text_encoder=str(tmp_path / "weights")))
    assert frozen_of(other).keys() == {"bsq", "t5"}
    assert jax.eval_shape(other.init, rng.key_for(0, "init")).keys() == {"transformer"}


def test_full_conditioning_has_a_token_for_every_scale(tokenizer):
    config = make_config(tokenizer)
    config.model.varedit.conditioning = "full"
    objective = load(config)
    bsq = frozen_of(objective)["bsq"]
    source, _ = jax.eval_shape(objective.tokens, bsq, make_batch(), KEY)
    assert source.shape == (2, 21, 4)


def test_settings_that_do_not_fit(tokenizer):
    config = make_config(tokenizer)
    config.data.image_size = 64
    with pytest.raises(ConfigError, match="data.image_size=64: varedit.scales end at 8x8 pixels"):
        load(config)
    config = make_config(tokenizer)
    config.data.text_tokens = 99
    with pytest.raises(ConfigError, match="data.text_tokens=99: expected 1 to"):
        load(config)
    config = make_config(tokenizer)
    config.model.bsq.res_blocks = 2
    with pytest.raises(ConfigError, match="res_blocks is 1 there, 2 here"):
        load(config)
    with pytest.raises(FileNotFoundError):
        load(make_config("nowhere"))
