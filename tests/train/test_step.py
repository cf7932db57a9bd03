import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import DataConfig, MeshConfig, OptimConfig, TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.optim import make_optimizer
from jaxedit.train.step import accumulate, init_state, make_step, moving_average


class Network(Objective):
    """Two layers with the names of a transformer block, so that every mesh axis cuts something."""

    def init(self, key):
        up, down = jax.random.split(key)
        mlp = {
            "up": {"kernel": jax.random.normal(up, (8, 16)) / 3, "bias": jnp.zeros(16)},
            "down": {"kernel": jax.random.normal(down, (16, 8)) / 4, "bias": jnp.zeros(8)},
        }
        return {"transformer": {"first_block": {"mlp": mlp}}}

    def frozen(self):
        return {}

    def loss(self, params, frozen, batch, key, step):
        mlp = params["transformer"]["first_block"]["mlp"]
        x = rules.constrain(batch.source, "batch", "embed")
        x = jnp.tanh(x @ mlp["up"]["kernel"] + mlp["up"]["bias"][None])
        x = rules.constrain(x, "batch", "mlp")
        out = x @ mlp["down"]["kernel"] + mlp["down"]["bias"][None]
        error = jnp.mean((out - batch.target) ** 2)
        return error, {"error": error}


def make_config(accumulate=1, **values):
    optim = OptimConfig(learning_rate=1e-2, accumulate=accumulate)
    return TrainConfig(optim=optim, data=DataConfig(batch_size=16), **values)


def make_batch(step=0):
    random = np.random.default_rng(step)
    x, y = (random.normal(size=(16, 8)).astype(np.float32) for _ in range(2))
    return EditBatch(x, y, None, None, None)


def run(config, steps=3, mesh=None, network=None):
    network, optimizer = network or Network(), make_optimizer(config.optim, 10)
    state = init_state(network, optimizer, config)
    step = jax.jit(make_step(network, optimizer, config))
    if mesh is not None:
        state = jax.device_put(state, rules.state_shardings(state, mesh))
    for i in range(steps):
        batch = make_batch(i) if mesh is None else rules.to_global(make_batch(i), mesh)
        state, metrics = step(state, {}, batch)
    return state, metrics


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_accumulated_micro_batches_equal_the_big_batch():
    whole, metrics = run(make_config())
    parts, part_metrics = run(make_config(accumulate=4))
    assert_close(whole.params, parts.params, rtol=1e-5, atol=1e-6)
    assert_close(metrics, part_metrics, rtol=1e-5)


@pytest.mark.parametrize("axes", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_sharded_step_equals_one_device(axes):
    config = make_config(accumulate=2)
    expected, metrics = run(config)
    mesh = make_mesh(MeshConfig(data=axes[0], fsdp=axes[1], tensor=axes[2]))
    with jax.set_mesh(mesh):
        state, sharded_metrics = run(config, mesh=mesh)
    assert_close(expected.params, state.params, rtol=1e-5, atol=1e-6)
    assert_close(metrics, sharded_metrics, rtol=1e-5)


def test_rows_of_micro_batches_are_joined():
    def loss(params, batch, key):
        return params["w"] * batch.source.mean(), {
            "rows": batch.source,
            "mean": batch.source.mean(),
        }

    x, key = jnp.arange(8.0).reshape(8, 1), rng.key_for(0, "test")
    batch = EditBatch(x, x, None, None, None)
    grads, metrics = accumulate(loss, {"w": jnp.float32(1.0)}, batch, key, 2)
    np.testing.assert_allclose(grads["w"], 3.5)
    np.testing.assert_allclose(metrics["mean"], 3.5)
    np.testing.assert_array_equal(metrics["rows"][:, 0], [0, 2, 4, 6, 1, 3, 5, 7])


def test_the_hook_sees_parameters_average_and_metrics_after_the_update():
    class Clamped(Network):
        def after_update(self, params, average, metrics, key, step):
            def clamp(tree):
                return jax.tree.map(lambda x: jnp.clip(x, -0.1, 0.1), tree)

            return clamp(params), clamp(average), metrics | {"step": step.astype(jnp.float32)}

    state, metrics = run(make_config(ema_decay=0.9), network=Clamped())
    leaves = jax.tree.leaves((state.params, state.ema_params))
    assert max(jnp.abs(leaf).max() for leaf in leaves) <= 0.1
    assert metrics["step"] == 2  # finished steps before the third one


def test_metrics_and_step_counter():
    state, metrics = run(make_config())
    assert state.step == 3 and state.step.dtype == jnp.int32
    assert metrics.keys() == {"error", "loss", "grad_norm", "lr"}
    np.testing.assert_allclose(metrics["lr"], 1e-2)


def test_moving_average_by_hand():
    average, params = {"w": jnp.float32(0.0)}, {"w": jnp.float32(1.0)}
    # step 0: decay 1/10; much later: the given one.
    np.testing.assert_allclose(moving_average(average, params, 0.99, jnp.int32(0))["w"], 0.9)
    late = moving_average(average, params, 0.99, jnp.int32(10_000))
    np.testing.assert_allclose(late["w"], 0.01, rtol=1e-4)
    assert moving_average({}, params, 0.0, jnp.int32(0)) == {}


def test_average_is_what_is_exported():
    state, _ = run(make_config(ema_decay=0.9))
    assert state.eval_params is state.ema_params
    plain = dataclasses.replace(state, ema_params={})
    assert plain.eval_params is state.params
