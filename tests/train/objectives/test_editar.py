import copy
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import abstract_params, load_pretrained, save_pretrained
from jaxedit.config import (
    EDITAR_PRESETS,
    ConfigError,
    DataConfig,
    EditARTrainConfig,
    OptimConfig,
    PretrainedConfig,
    TrainConfig,
)
from jaxedit.data.batch import EditBatch, Examples
from jaxedit.sharding import rules
from jaxedit.train import loop
from jaxedit.train.losses import token_accuracies
from jaxedit.train.objectives.corruption import draw_dropped
from jaxedit.train.objectives.editar import EditARObjective
from jaxedit.train.objectives.registry import TrainingData
from jaxedit.train.optim import decay_mask, make_optimizer

KEY = rng.key_for(0, "loss")
STEP = jnp.int32(0)


def small_model(**changes):
    """8 px pictures of 4 x 4 codes."""
    model = copy.deepcopy(EDITAR_PRESETS["tiny"])
    sizes = {"layers": 2, "width": 16, "heads": 2, "mlp_hidden": 32, "codes": 8, "grid": 4}
    sizes |= {"text_tokens": 6, "distill_width": 8}
    model.editar = dataclasses.replace(model.editar, **sizes | changes)
    model.vq = dataclasses.replace(
        model.vq, codes=8, code_width=4, base_channels=32, channel_mult=(1, 1), latent_width=32
    )
    model.t5.layers, model.token_sample.top_k = 1, 8
    return model


def random_params(config):
    generator = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: 0.3 * generator.standard_normal(leaf.shape, np.float32),
        abstract_params(config),
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A directory with a small random image tokenizer."""
    config = PretrainedConfig(model_type="vq", vq=small_model().vq)
    directory = tmp_path_factory.mktemp("vq") / "weights"
    return str(save_pretrained(directory, config, random_params(config)))


def make_config(tokenizer, model=None, **changes):
    config = TrainConfig(
        model=model or small_model(),
        editar=EditARTrainConfig(tokenizer=tokenizer, **changes),
        data=DataConfig(image_size=8, text_tokens=6, batch_size=8),
        optim=OptimConfig(learning_rate=1e-3, weight_decay=0.05),
        dtype="float32",
        remat="none",
    )
    config.validate()
    return config


def make_batch(seed=0, rows=8):
    random = np.random.default_rng(seed)
    source, target = random.integers(0, 256, (2, rows, 8, 8, 3), np.uint8)
    ids = random.integers(1, 99, (rows, 6)).astype(np.int32)
    return EditBatch(source, target, ids, np.tile(np.arange(6) < 4, (rows, 1)), None)


def frozen_of(objective):
    return rules.place(objective.frozen(), None)


def load(config):
    return EditARObjective.from_config(config)


@pytest.fixture(scope="module")
def objective(tokenizer):
    return load(make_config(tokenizer))


@pytest.fixture(scope="module")
def untrained(objective):
    return jax.jit(objective.init)(rng.key_for(0, "init"))


@pytest.fixture(scope="module")
def params(untrained):
    """Parameters with a head that is not zero."""
    return jax.tree.map(lambda x: x + 0.1 * jax.random.normal(KEY, x.shape), untrained)


@pytest.fixture(scope="module")
def gradients(objective):
    """`gradients(params, frozen)` -> (loss, metrics), gradients of both."""
    program = jax.jit(jax.value_and_grad(objective.loss, (0, 1), has_aux=True))
    return lambda params, frozen: program(params, frozen, make_batch(), KEY, STEP)


def test_untrained_loss_is_that_of_guessing(objective, untrained, gradients):
    (loss, metrics), _ = gradients(untrained, frozen_of(objective))
    np.testing.assert_allclose(metrics["ce"], math.log(8), rtol=1e-5)
    np.testing.assert_allclose(loss, metrics["ce"] + 0.5 * metrics["distill"], rtol=1e-6)
    names = {"ce", "distill", "accuracy", "accuracy_copy", "accuracy_edit"}
    assert metrics.keys() == names and untrained.keys() == {"transformer", "t5"}


def test_gradients_reach_what_is_trained_and_nothing_else(objective, params, gradients):
    _, (trained, frozen) = gradients(params, frozen_of(objective))
    assert frozen.keys() == {"vq", "null", "vit"}
    for path, grad in tree.flatten(trained).items():
        assert jnp.isfinite(grad).all() and jnp.abs(grad).max() > 0, path
    for path, grad in tree.flatten({n: frozen[n] for n in ("vq", "vit")}).items():
        assert not jnp.abs(grad).any(), path


def test_null_conditions_are_not_in_the_optimiser(objective):
    params = jax.eval_shape(objective.init, KEY)
    state = jax.eval_shape(make_optimizer(OptimConfig(), 1).init, params)
    assert not [p for p, _ in jax.tree_util.tree_leaves_with_path(state) if "null" in str(p)]


def test_weight_decay_knows_that_layers_are_stacked(objective):
    mask = decay_mask(jax.eval_shape(objective.init, KEY))["transformer"]
    decays = {path for path, decays in tree.flatten(mask).items() if decays}
    blocks = {f"blocks/{p}/kernel" for p in ("attn/qkv", "attn/proj", "mlp/gate_up", "mlp/down")}
    outer = {"embed", "head/kernel", "text/fc1/kernel", "text/fc2/kernel", "align/kernel"}
    assert decays == blocks | outer


def test_dropped_conditions_do_not_matter(tokenizer, params):
    dropped = load(make_config(tokenizer, drop=1 / 3, distill_weight=0.0))
    one = make_batch()
    text, image = draw_dropped(jax.random.split(KEY)[0], 8, 1 / 3)
    other = EditBatch(
        np.where(image[:, None, None, None], 255 - one.source, one.source),
        one.target,
        np.where(text[:, None], one.text_ids + 1, one.text_ids),
        one.text_mask,
        None,
    )
    assert text.any() and image.any() and not (text & image).all()
    frozen = frozen_of(dropped)
    loss = jax.jit(lambda batch: dropped.loss(params, frozen, batch, KEY, STEP)[0])
    np.testing.assert_allclose(loss(one), loss(other), rtol=1e-6)


def test_accuracies_by_hand():
    right = jnp.array([[True, False, True, True]])
    source, target = jnp.array([[1, 2, 3, 4]]), jnp.array([[1, 2, 0, 0]])
    found = token_accuracies(right, source, target)
    assert found == {"accuracy": 0.75, "accuracy_copy": 0.5, "accuracy_edit": 1.0}
    assert token_accuracies(right, None, target) == {"accuracy": 0.75}
    assert token_accuracies(right, target, target)["accuracy_edit"] == 0  # nothing to change


def test_text_to_image(tokenizer):
    model = small_model(prefix="text", distill_width=0)
    objective = load(make_config(tokenizer, model, distill_weight=0.0))
    assert frozen_of(objective)["null"].keys() == {"text"}
    params = jax.jit(objective.init)(rng.key_for(0, "init"))
    one, frozen = make_batch(), frozen_of(objective)
    other = dataclasses.replace(one, source=255 - one.source)
    loss = jax.jit(lambda batch: objective.loss(params, frozen, batch, KEY, STEP))
    assert loss(one)[0] == loss(other)[0] and loss(one)[1].keys() == {"ce", "accuracy"}


def test_begins_with_text_to_image_weights(tokenizer, tmp_path):
    model = small_model(prefix="text", distill_width=0)
    save_pretrained(tmp_path / "t2i", model, random_params(model), "toy-tokenizer")
    config = make_config(tokenizer)
    config.init_from = str(tmp_path / "t2i")
    objective = load(config)
    _, there, _ = load_pretrained(tmp_path / "t2i")
    np.testing.assert_array_equal(frozen_of(objective)["null"]["text"], there["null"]["text"])
    assert frozen_of(objective)["null"]["image"].shape == (16, 16)


def train(tokenizer, workdir, **settings):
    config = make_config(tokenizer)
    config = dataclasses.replace(config, checkpoint_every=2, **settings)
    data = TrainingData(batches_from, Examples(make_batch(9), [""] * 8))
    return loop.train(config, epath.Path(workdir), load(config), data)


def test_trains_and_exports(tokenizer, tmp_path):
    train(tokenizer, tmp_path, steps=2, sample_every=2)
    assert (tmp_path / "samples" / "0000002.png").is_file()
    config, exported, _ = load_pretrained(tmp_path / "export")
    assert config == small_model() and exported.keys() == {"vq", "transformer", "null", "t5"}
    null = frozen_of(load(make_config(tokenizer)))["null"]
    jax.tree.map(np.testing.assert_array_equal, exported["null"], null)


@pytest.mark.slow  # the loop's own tests resume a smaller model
def test_resumes_where_it_stopped(tokenizer, tmp_path):
    whole = train(tokenizer, tmp_path / "whole", steps=4, sample_every=0)
    train(tokenizer, tmp_path / "parts", steps=2, sample_every=0)
    resumed = train(tokenizer, tmp_path / "parts", steps=4, sample_every=0)
    jax.tree.map(np.testing.assert_array_equal, whole.params, resumed.params)


def batches_from(step, rows):
    while True:
        yield make_batch(step)
        step += 1


def test_sheet(objective, params):
    batch = make_batch(rows=2)
    sheet = objective.sample_grid(params, frozen_of(objective), batch)
    assert sheet.shape == (2, 3, 8, 8, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:, 0], batch.source)
    np.testing.assert_array_equal(sheet[:, 2], batch.target)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data.image_size": 64}, "data.image_size=64: editar.grid=4 is 8x8 pixels"),
        ({"data.text_tokens": 9}, "data.text_tokens=9: expected editar.text_tokens=6"),
        ({"editar.drop": 0.5}, "editar.drop=0.5: expected 0 <= value <= 1/3"),
        ({"editar.random_share": 2.0}, r"editar.random_share=2.0: expected a number in \[0, 1\]"),
        ({"editar.teacher_view": "no"}, "editar.teacher_view='no': expected resize256_crop224 or"),
        ({"model.editar.distill_width": 0}, "editar.distill_weight=0.5: expected 0"),
        ({"model.vq.res_blocks": 2}, "res_blocks is 1 there, 2 here"),
    ],
)
def test_settings_that_do_not_fit(tokenizer, changes, message):
    config = make_config(tokenizer)
    for path, value in changes.items():
        *parents, name = path.split(".")
        part = config
        for parent in parents:
            part = getattr(part, parent)
        setattr(part, name, value)
    with pytest.raises(ConfigError, match=message):
        load(config)


def test_stacks_of_kernels_are_cast_before_the_loop_over_layers(tokenizer):
    config = make_config(tokenizer)
    config.dtype = "bfloat16"
    objective = load(config)
    params, frozen = jax.eval_shape(objective.init, KEY), frozen_of(objective)
    gradient = jax.grad(lambda p: objective.loss(p, frozen, make_batch(), KEY, STEP)[0])
    program, shapes = jax.make_jaxpr(gradient, return_shape=True)(params)
    kernel = params["transformer"]["blocks"]["mlp"]["down"]["kernel"]
    assert f"bf16[{','.join(map(str, kernel.shape))}]" in str(program)
    assert shapes == params  # gradients are f32, as the parameters are
