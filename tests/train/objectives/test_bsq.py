import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import load_pretrained
from jaxedit.config import (
    BSQConfig,
    BSQTrainConfig,
    ConfigError,
    DataConfig,
    PretrainedConfig,
    TrainConfig,
)
from jaxedit.convert.keymaps import keymap_lpips
from jaxedit.data.batch import EditBatch
from jaxedit.models.lpips import LPIPS
from jaxedit.sharding.rules import axes_of
from jaxedit.train.objectives.bsq import BSQObjective, bit_entropies

MODEL = BSQConfig(bits=4, stride=2, base_channels=24, channel_mult=(1, 1), res_blocks=1)
SCALES = ((1, 1), (4, 4), (12, 12))


def config(**settings):
    return TrainConfig(
        model=PretrainedConfig(model_type="bsq", bsq=MODEL),
        bsq=BSQTrainConfig(**{"scales": SCALES, "gan_channels": 8, "gan_start": 5} | settings),
        data=DataConfig(image_size=24),
        dtype="float32",
        remat="none",
    )


def pictures(B=2):
    """Flat pictures of random colours with a brighter half."""
    colours = np.random.default_rng(0).integers(0, 128, (2, B, 1, 1, 3), np.uint8)
    images = np.broadcast_to(colours, (2, B, 24, 24, 3)).copy()
    images[:, :, :12] += 100
    ids = np.zeros((B, 2), np.int32)
    return EditBatch(*map(jnp.array, (images[0], images[1], ids, ids == 0)), None)


@pytest.fixture(scope="module")
def gan():
    """An objective with a GAN, its parameters, and its compiled gradient."""
    objective = BSQObjective(config(gan_weight=0.3))
    return objective, init(objective), gradient_at(objective)


def init(objective):
    return jax.jit(objective.init)(rng.key_for(0, "init"))


def gradient_at(objective):
    """A compiled function (params, step) -> (gradients, metrics)."""
    key, batch = rng.key_for(0, "loss"), pictures()

    def loss(params, step):
        return objective.loss(params, {}, batch, key, step)

    return jax.jit(jax.grad(loss, has_aux=True))


def test_reconstruction_improves(gan):
    objective, params, gradient = gan
    assert set(params) == {"bsq", "discriminator"} and objective.frozen() == {}
    optimizer = optax.adam(3e-3)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    history = []
    for _ in range(20):
        grads, metrics = gradient(params, 0)  # before the GAN starts
        updates, state = update(grads, state)
        params = optax.apply_updates(params, updates)
        history.append(float(metrics["psnr"]))
    assert history[-1] > history[0] + 4, history
    names = {"l1", "mse", "psnr", "commit", "sample_entropy", "code_entropy"}
    names |= {"gan_generator", "gan_discriminator", "score_real", "score_fake"}
    assert set(metrics) == names | {f"bit_entropy_{k}" for k in (1, 2, 3)}


def test_every_kernel_has_a_gradient(gan):
    _, params, gradient = gan
    grads, _ = gradient(params, 9)
    kernels = {p: g for p, g in tree.flatten(grads).items() if p.endswith("kernel")}
    assert len(kernels) > 20
    assert all(jnp.abs(g).max() > 0 for g in kernels.values())


def test_each_part_of_the_gan_gets_its_own_gradient(gan):
    _, params, gradient = gan
    before, _ = gradient(params, 4)
    after, _ = gradient(params, 5)
    without, _ = gradient_at(BSQObjective(config()))({"bsq": params["bsq"]}, 4)
    flat = {"before": before["bsq"], "after": after["bsq"], "without": without["bsq"]}
    flat = {k: jnp.concatenate([g.ravel() for g in jax.tree.leaves(v)]) for k, v in flat.items()}
    scale = jnp.abs(flat["without"]).max()
    np.testing.assert_allclose(flat["before"], flat["without"], atol=float(scale) * 1e-4)
    assert jnp.abs(flat["after"] - flat["before"]).max() > 1e-3 * scale
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        before["discriminator"],
        after["discriminator"],
    )


def test_sheet_and_export(gan, tmp_path):
    objective, params, _ = gan
    batch = pictures()
    sheet = objective.sample_grid(params, {}, batch)
    assert sheet.shape == (2, len(objective.columns), 24, 24, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:, 0], batch.source)
    objective.export(params, str(tmp_path / "export"))
    loaded, weights, _ = load_pretrained(tmp_path / "export")
    assert loaded.bsq == MODEL and set(weights) == {"bsq"}
    jax.tree.map(np.testing.assert_array_equal, weights["bsq"], params["bsq"])


def test_bit_entropies_by_hand():
    metrics = bit_entropies(jnp.array([[0.5, 0.5], [0.0, 0.5]]))
    np.testing.assert_allclose(metrics["bit_entropy_1"], 1, atol=1e-6)
    np.testing.assert_allclose(metrics["bit_entropy_2"], 0.5, atol=1e-6)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"scales": SCALES[:2]}, "bsq.scales ends at 4x4: expected 12x12"),
        ({"scale_drop": 1.0}, "bsq.scale_drop=1.0"),
        ({"lpips_weight": 1.0}, "bsq.lpips_weights is empty"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        BSQObjective(config(**settings))


def test_lpips_weights_must_exist(tmp_path):
    settings = {"lpips_weight": 1.0, "lpips_weights": str(tmp_path / "vgg.safetensors")}
    with pytest.raises(FileNotFoundError, match="vgg.safetensors: no such file"):
        BSQObjective(config(**settings))


def test_full_loss_of_the_paper(monkeypatch):
    x = jnp.zeros((1, 32, 32, 3))
    network = jax.eval_shape(LPIPS().init, rng.key_for(0, "init"), x, x)["params"]
    monkeypatch.setattr(keymap_lpips, "read", lambda path: network)
    settings = {"lpips_weight": 1.0, "lpips_weights": "vgg.safetensors", "gan_weight": 0.3}
    objective = BSQObjective(config(**settings))
    params, frozen = jax.eval_shape(objective.init, rng.key_for(0, "init")), objective.frozen()
    key, step = rng.key_for(0, "loss"), jnp.int32(0)
    loss, metrics = jax.eval_shape(objective.loss, params, frozen, pictures(), key, step)
    assert loss.shape == () and {"lpips", "gan_generator"} <= set(metrics)
    for path in tree.flatten(params | frozen):
        axes_of(path)  # every array has a place on the mesh
