import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import load_pretrained
from jaxedit.config import (
    ConfigError,
    DataConfig,
    MeshConfig,
    OptimConfig,
    PretrainedConfig,
    TrainConfig,
    VQConfig,
    VQTrainConfig,
)
from jaxedit.data.batch import EditBatch
from jaxedit.ops.codebook import maybe_normalize
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.train.objectives.vq import VQObjective, draw_latents, drift, quantize
from jaxedit.train.optim import make_optimizer
from jaxedit.train.step import init_state, make_step

MODEL = VQConfig(
    codes=16, code_width=4, base_channels=24, channel_mult=(1, 1), res_blocks=1, latent_width=8
)


def config(accumulate=1, **settings):
    return TrainConfig(
        model=PretrainedConfig(model_type="vq", vq=MODEL),
        vq=VQTrainConfig(**{"kmeans_batches": 2, "restart_after": 3, "gan_channels": 8} | settings),
        data=DataConfig(image_size=8, batch_size=8),
        optim=OptimConfig(learning_rate=1e-2, accumulate=accumulate),
        dtype="float32",
        remat="none",
        ema_decay=0.9,
    )


def pictures(seed=0, B=8):
    """Flat pictures of random colours with a brighter half."""
    colours = np.random.default_rng(seed).integers(0, 128, (2, B, 1, 1, 3), np.uint8)
    images = np.broadcast_to(colours, (2, B, 8, 8, 3)).copy()
    images[:, :, :4] += 100
    ids = np.zeros((B, 2), np.int32)
    return EditBatch(images[0], images[1], ids, ids == 0, None)


@pytest.fixture(scope="module")
def objective():
    return VQObjective(config())


@pytest.fixture(scope="module")
def training(objective):
    """(state before the first step, compiled step)."""
    optimizer = make_optimizer(config().optim, 10)
    state = jax.jit(lambda: init_state(objective, optimizer, config()))()
    return state, jax.jit(make_step(objective, optimizer, config()))


@pytest.fixture(scope="module")
def params(training):
    return training[0].params


def run(state, step, seeds, place=lambda batch: batch):
    history = []
    for seed in seeds:
        state, metrics = step(state, {}, place(pictures(seed)))
        history.append({name: float(value) for name, value in metrics.items()})
    return state, history


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_quantisation_losses_by_hand():
    codebook = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    latent = jnp.array([[[[3.0, 4.0]]]])  # unit: (.6, .8); entry 1, unit: (0, 1)
    both = jax.jit(lambda latent, codebook: quantize(latent, codebook, True))
    out = both(latent, codebook)
    assert out.codes.item() == 1
    np.testing.assert_allclose(out.passed[0, 0, 0], [0, 1], atol=1e-6)
    np.testing.assert_allclose(out.commit, (0.36 + 0.04) / 2, rtol=1e-6)
    np.testing.assert_allclose(out.codebook, out.commit)
    plain = quantize(latent, codebook, False)
    np.testing.assert_allclose(plain.commit, (9 + 4) / 2, rtol=1e-6)
    # Each half of the loss moves its own side only, and pixels reach the latents.
    of_commit = jax.grad(lambda *x: both(*x).commit, (0, 1))(latent, codebook)
    of_codebook = jax.grad(lambda *x: both(*x).codebook, (0, 1))(latent, codebook)
    of_pixels = jax.grad(lambda *x: both(*x).passed[..., 0].sum(), (0, 1))(latent, codebook)
    assert [bool(jnp.any(g != 0)) for g in (*of_commit, *of_codebook)] == [True, False, False, True]
    assert jnp.any(of_pixels[0] != 0) and not jnp.any(of_pixels[1] != 0)


def test_losses_match_the_release(golden):
    arrays, _ = golden("vq_tokenizer_tiny")
    latent = arrays["out/latent_pre_quant"].transpose(0, 2, 3, 1)
    codebook = arrays["params/quantize.embedding.weight"].astype(np.float32)
    out = quantize(jnp.array(latent), jnp.array(codebook), True)
    np.testing.assert_allclose(out.codebook, arrays["out/vq_loss"][0], rtol=1e-5)
    np.testing.assert_allclose(0.25 * out.commit, arrays["out/commit_loss"][0], rtol=1e-5)


def hook(objective, params, average, step, *, codes=(0, 1), latents=None):
    """`after_update` for one batch with the given codes."""
    latents = jnp.eye(4)[:2] if latents is None else latents
    metrics = {"latents": latents, "codes": jnp.array(codes, jnp.int32), "l1": jnp.float32(0)}
    key = rng.key_for(0, "test")
    return jax.jit(objective.after_update)(params, average, metrics, key, jnp.int32(step))


def test_codes_start_by_kmeans(objective, params):
    """In the first two steps only, from latents drawn of the batch; the average follows."""
    latents = maybe_normalize(jax.random.normal(rng.key_for(0, "test"), (64, 4)), True)
    average = jax.tree.map(lambda x: x + 1, params)
    seen = {"latents": latents, "codes": (0,) * 64}
    new, average, metrics = hook(objective, params, average, 0, **seen)
    codes = new["vq"]["codebook"]
    np.testing.assert_array_equal(average["vq"]["codebook"], codes)
    again, _, _ = hook(objective, new, {}, 1, **seen)  # goes on from there
    errors = [quantize(latents, c["vq"]["codebook"], True).commit for c in (params, new, again)]
    assert errors[1] < 0.5 * errors[0] and errors[2] <= errors[1]
    assert metrics["restarted"] == 0
    later, _, _ = hook(objective, new, {}, 2, **seen)
    np.testing.assert_array_equal(later["vq"]["codebook"], codes)


def test_dead_codes_restart(objective, params):
    average = jax.tree.map(lambda x: x + 1, params)
    new, metrics = params, {}
    for step in range(9, 12):  # codes 2 ... 15 are not used three times
        new, average, metrics = hook(objective, new, average, step)
        np.testing.assert_allclose(metrics["restarted"], 14 * (step == 11))
    assert set(metrics) == {"l1", "codes_used", "perplexity", "restarted"}
    assert metrics["codes_used"] == 2
    np.testing.assert_allclose(metrics["perplexity"], 2, rtol=1e-6)
    np.testing.assert_array_equal(new["usage"]["idle"], 0)
    codebook, old = new["vq"]["codebook"], params["vq"]["codebook"]
    np.testing.assert_array_equal(codebook[:2], old[:2])
    distances = jnp.abs(codebook[2:, None] - jnp.eye(4)[None, :2]).sum(-1)
    assert (distances.min(1) == 0).all()  # each is one of the latents
    np.testing.assert_array_equal(average["vq"]["codebook"][2:], codebook[2:])  # does not lag
    np.testing.assert_allclose(average["vq"]["codebook"][:2], old[:2] + 1)


def test_nothing_restarts_when_off(params):
    objective = VQObjective(config(restart_after=0))
    params = params | {"usage": {"idle": jnp.full(16, 99.0)}}
    new, average, metrics = hook(objective, params, {}, 9)
    assert average == {} and metrics["restarted"] == 0
    np.testing.assert_array_equal(new["vq"]["codebook"], params["vq"]["codebook"])


def test_loaded_codes_are_kept(params):
    started = config()
    started.init_from = "toy-editar"
    new, _, _ = hook(VQObjective(started), params, {}, 0)
    np.testing.assert_array_equal(new["vq"]["codebook"], params["vq"]["codebook"])


def test_drawn_latents_differ_and_lie_far_from_their_codes():
    latents, equal = jnp.arange(8.0)[:, None], jnp.ones(8)
    rows = draw_latents(rng.key_for(0, "test"), latents, equal, 8)[:, 0]
    np.testing.assert_array_equal(jnp.sort(rows), jnp.arange(8.0))
    far = draw_latents(rng.key_for(0, "test"), latents, (latents[:, 0] > 5) * 1.0, 2)[:, 0]
    np.testing.assert_array_equal(jnp.sort(far), [6, 7])
    assert draw_latents(rng.key_for(0, "test"), rows[:3, None], equal[:3], 8).shape == (8, 1)


def test_drift_by_hand():
    z = jnp.zeros((2, 2, 2, 1)).at[1].set(jnp.array([[[1.0], [2.0]], [[0.0], [0.0]]]))
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1, 3] = True  # the position whose latents differ by 2
    variance = float(jnp.var(z))
    np.testing.assert_allclose(drift(z, mask), 1 / 3 / variance, rtol=1e-4)
    assert drift(z, np.ones_like(mask)) == 0


def test_counts_are_neither_trained_nor_exported(objective, params, tmp_path):
    grads = jax.jit(
        jax.grad(lambda p: objective.loss(p, {}, pictures(), rng.key_for(0, "loss"), 0)[0])
    )(params)
    np.testing.assert_array_equal(grads["usage"]["idle"], 0)
    kernels = [g for path, g in tree.flatten(grads["vq"]).items() if path.endswith("kernel")]
    assert all(jnp.abs(g).max() > 0 for g in kernels)
    objective.export(params, str(tmp_path / "export"))
    loaded, weights, _ = load_pretrained(tmp_path / "export", ["vq"])
    assert loaded.vq == MODEL and set(weights) == {"vq"}
    jax.tree.map(np.testing.assert_array_equal, weights["vq"], params["vq"])


def test_sheet_shows_both_pictures(objective, params):
    sheet = objective.sample_grid(params, {}, pictures(B=2))
    assert sheet.shape == (2, len(objective.columns), 8, 8, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:, 2], pictures(B=2).target)


def test_training_falls_and_resumes_where_it_stopped(training):
    begin, step = training
    end, history = run(begin, step, range(6))
    assert history[-1]["mse"] < 0.5 * history[0]["mse"], history
    half, _ = run(begin, step, range(3))
    resumed, _ = run(jax.device_put(jax.device_get(half)), step, range(3, 6))
    jax.tree.map(np.testing.assert_array_equal, end, resumed)


def test_a_mesh_changes_nothing(training):
    begin, step = training
    _, expected = run(begin, step, range(2))
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        state = jax.device_put(begin, rules.state_shardings(begin, mesh))
        _, found = run(state, step, range(2), lambda batch: rules.to_global(batch, mesh))
    for name in ("loss", "codes_used", "perplexity"):
        np.testing.assert_allclose(expected[1][name], found[1][name], rtol=1e-3)


def test_micro_batches_fit_together(objective, training):
    parts = config(accumulate=2)
    step = make_step(objective, make_optimizer(parts.optim, 10), parts)
    state, metrics = jax.eval_shape(step, training[0], {}, pictures())
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, training[0])
    assert all(value.shape == () for value in metrics.values())


def test_bad_settings_are_named():
    wrong = config()
    wrong.data.image_size = 9
    with pytest.raises(ConfigError, match="data.image_size=9: expected a multiple of 2"):
        VQObjective(wrong)
    with pytest.raises(ConfigError, match="vq.restart_after=-1: expected 0 or more"):
        VQObjective(config(restart_after=-1))
