import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxedit import rng, tree
from jaxedit.config import PRESETS, OptimConfig
from jaxedit.models.varedit import init_params
from jaxedit.train.optim import decay_mask, learning_rate, make_optimizer


def test_one_step_by_hand():
    config = OptimConfig(learning_rate=0.1, weight_decay=0.5, clip_norm=1.0, beta1=0.9, beta2=0.97)
    params = {"head": {"kernel": jnp.full((1, 2), 2.0), "bias": jnp.full(2, 2.0)}}
    grads = {"head": {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([4.0, 0.0])}}
    optimizer = make_optimizer(config, 10)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    # Adam's first step is lr * sign; only the kernel decays, by lr * decay * 2.
    np.testing.assert_allclose(updates["head"]["kernel"], [[-0.1 - 0.1, -0.1]], rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["bias"], [-0.1, 0.0], rtol=1e-5)


def test_clipping_bounds_the_norm():
    params = {"head": {"kernel": jnp.zeros((1, 2))}}
    optimizer = make_optimizer(OptimConfig(clip_norm=0.5, beta1=0.9), 10)
    grads = {"head": {"kernel": jnp.array([[3.0, 4.0]])}}
    _, state = optimizer.update(grads, optimizer.init(params), params)
    mu = optax.tree.get(state, "mu")["head"]["kernel"]
    np.testing.assert_allclose(jnp.linalg.norm(mu), 0.1 * 0.5, rtol=1e-6)


def test_decay_mask_of_the_whole_model():
    params = jax.eval_shape(lambda: init_params(PRESETS["tiny"].varedit, rng.key_for(0, "init")))
    mask = tree.flatten(decay_mask({"transformer": params}))
    decays = {path.removeprefix("transformer/") for path, value in mask.items() if value}
    in_blocks = {f"{b}/{p}" for b in ("first_block", "blocks") for p in BLOCK_DECAYS}
    assert decays == in_blocks | OUTER_DECAYS


BLOCK_DECAYS = {
    "attn/qkv/kernel",
    "attn/proj/kernel",
    "cross/q/kernel",
    "cross/kv/kernel",
    "cross/proj/kernel",
    "mlp/up/kernel",
    "mlp/down/kernel",
}
OUTER_DECAYS = {
    "text/pool/kv/kernel",
    "text/pool/proj/kernel",
    "text/up/kernel",
    "text/down/kernel",
    "word_embed/kernel",
    "ada/kernel",
    "head_ada/kernel",
    "head/kernel",
}


def test_schedules():
    constant = learning_rate(OptimConfig(learning_rate=2.0, warmup_steps=4), 100)
    np.testing.assert_allclose([constant(t) for t in (0, 1, 3, 4, 99)], [0.5, 1.0, 2.0, 2.0, 2.0])
    config = OptimConfig(learning_rate=2.0, warmup_steps=10, schedule="cosine", end_ratio=0.1)
    cosine = learning_rate(config, 110)
    np.testing.assert_allclose([cosine(10), cosine(60), cosine(110)], [2.0, 1.1, 0.2], rtol=1e-6)
    assert learning_rate(OptimConfig(learning_rate=2.0), 10)(0) == pytest.approx(2.0)
