import itertools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.convert.keymaps import keymap_lpips
from jaxedit.models.lpips import LPIPS
from jaxedit.train import command
from jaxedit.train.metrics import (
    MetricsWindow,
    StepFlops,
    TrainingDiverged,
    flops_per_pair,
    step_flops,
)
from jaxedit.train.objectives.registry import abstract_objective
from jaxedit.train.step_memory import batch_shapes


def values(loss, grad_norm=1.0, lr=0.1):
    return {"loss": jnp.float32(loss), "grad_norm": jnp.float32(grad_norm), "lr": jnp.float32(lr)}


def test_window_reports_means_one_step_late():
    window = MetricsWindow(lambda: None)
    for step, loss in enumerate([1.0, 3.0, 100.0], 1):
        window.add(step, values(loss, lr=step / 10))
    report = window.report(batch_size=4)
    assert report["loss"] == 2.0  # the third step is still on the device
    assert report["lr"] == pytest.approx(0.2)
    assert window.report(batch_size=4)["loss"] == 100.0


def test_the_step_that_compiles_has_no_rate():
    window = MetricsWindow(lambda: None)
    window.add(1, values(1.0))
    assert window.report(batch_size=4) == {"loss": 1.0, "grad_norm": 1.0, "lr": np.float32(0.1)}


def test_window_counts_waiting():
    window = MetricsWindow(lambda: None)
    window.add(1, values(1.0))
    window.flush()  # the step that compiles is not timed
    with window.waiting():
        pass
    window.add(2, values(1.0))
    window.flush()
    report = window.report(batch_size=4)
    assert 0 <= report["data_wait"] <= 1
    assert report["img_per_s"] * report["s_per_step"] == pytest.approx(4)


def test_pauses_cost_no_speed(monkeypatch):
    now = itertools.count()  # a second passes between two looks at the clock
    clock = types.SimpleNamespace(perf_counter=lambda: next(now))
    monkeypatch.setattr("jaxedit.train.metrics.time", clock)
    window = MetricsWindow(lambda: None)
    window.add(1, values(1.0))
    window.flush()
    before = next(now)
    with window.pausing():
        for _ in range(100):
            next(now)
    window.add(2, values(1.0))
    window.flush()
    assert window.report(batch_size=4)["s_per_step"] < 5 < 100 < next(now) - before


@pytest.mark.parametrize(("name", "value"), [("loss", math.nan), ("grad_norm", math.inf)])
def test_window_stops_at_numbers_that_are_not_finite(name, value):
    window = MetricsWindow(lambda: 40)
    window.add(41, values(1.0) | {name: jnp.float32(value)})
    with pytest.raises(TrainingDiverged, match=f"{name} is {value} at step 41; .*checkpoint: 40"):
        window.add(42, values(1.0))


def config_of(preset, *settings):
    arguments = ["", "--workdir=x", f"--config=configs/{preset}"]
    return command.parse([*arguments, *(f"--config.{s}" for s in settings)]).config


@pytest.fixture
def lpips(monkeypatch):
    """Shapes in place of LPIPS's weights."""
    pixels = jnp.zeros((1, 64, 64, 3))
    params = jax.eval_shape(lambda: LPIPS().init(jax.random.key(0), pixels, pixels))["params"]
    monkeypatch.setattr(keymap_lpips, "read", lambda path: params)


# Blocks are unrolled, as XLA counts the body of a loop once.
RUNS = {
    "sar": ("var_sar.py:tiny", "unroll=5", "model.t5.layers=1"),
    "full": ("var_full.py:tiny", "unroll=5", "model.t5.layers=1"),
    "editar": ("editar.py:tiny", "unroll=6", "model.t5.layers=1"),
    "no-teacher": ("editar.py:tiny", "unroll=6", "model.t5.layers=1", "editar.distill_weight=0"),
    "lora": ("finetune.py:tiny", "unroll=5", "model.t5.layers=1"),
    "lora-attn": ("finetune.py:tiny", "unroll=5", "model.t5.layers=1", "lora.targets=attn/"),
    "bsq": ("tokenizer_bsq.py:tiny",),
    "bsq-gan": ("tokenizer_bsq.py:tiny", "bsq.gan_weight=0.5", "bsq.gan_channels=32"),
    "vq": ("tokenizer_vq.py:tiny",),
    "vq-lpips": ("tokenizer_vq.py:tiny", "vq.lpips_weight=1.0", "vq.lpips_weights=a"),
}


PARTS = ("no-teacher", "lora", "bsq", "vq")  # the others count the same and more


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in PARTS else ()) for n in RUNS]
)
def test_every_objective_as_xla_counts_it(name, lpips):
    """XLA counts no padding of convolutions, but what works element by element.

    For LPIPS it also counts the gradient of the original pictures, which is computed and not used.
    """
    preset, *settings = RUNS[name]
    config = config_of(preset, "remat=none", "data.batch_size=1", *settings)
    objective = abstract_objective(config)
    key = jax.eval_shape(lambda: rng.key_for(0, "loss"))
    params = jax.eval_shape(objective.init, key)

    def gradients(params, *arguments):
        return jax.grad(objective.loss, has_aux=True)(params, *arguments)[0]

    rest = (objective.frozen(), batch_shapes(config, 1), key, jax.ShapeDtypeStruct((), jnp.int32))
    found = jax.jit(gradients).lower(params, *rest).cost_analysis()
    found = found[0] if isinstance(found, list) else found
    if not found or "flops" not in found:
        pytest.skip("this jax counts no operations")
    tolerance = 0.15 if name == "vq-lpips" else 0.08
    assert flops_per_pair(objective) == pytest.approx(found["flops"], rel=tolerance)


@pytest.mark.parametrize(("preset", "paper"), [("editar.py:xl", 10.9), ("var_sar.py:2b", 46.1)])
def test_frozen_networks_come_on_top(preset, paper):
    """6 x weights x tokens + 12 x L x C x attended pairs, of the transformer alone."""
    flops = flops_per_pair(abstract_objective(config_of(preset))) / 1e12
    assert 1.04 * paper < flops < 1.16 * paper


def test_a_frozen_text_encoder_counts_once():
    objective = abstract_objective(config_of("var_sar.py:tiny"))
    trained = {one.network: one.flops for one in objective.passes()}
    objective = abstract_objective(config_of("var_sar.py:tiny", "varedit.text_encoder=toy-varedit"))
    frozen = {one.network: one.flops for one in objective.passes()}
    assert trained.pop("t5") == 3 * frozen.pop("t5") and trained == frozen


def test_work_of_a_step():
    config = config_of("editar.py:tiny", "optim.accumulate=2")
    objective = abstract_objective(config)
    work = step_flops(config, objective)
    assert work.flops == config.data.batch_size * flops_per_pair(objective)
    assert (work.devices, work.peak) == (8, None)


def test_rates_by_hand():
    rates = StepFlops(flops=4e12, devices=2, peak=1e13).rates(steps_per_second=0.5)
    assert rates == {"tflops_per_device": 1.0, "mfu": 0.1}
    assert StepFlops(4e12, 2, None).rates(0.5) == {"tflops_per_device": 1.0}
