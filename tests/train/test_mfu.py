import jax
import jax.numpy as jnp
import pytest

from jaxedit import rng
from jaxedit.convert.keymaps import keymap_lpips
from jaxedit.models.lpips import LPIPS
from jaxedit.train import command
from jaxedit.train.mfu import StepFlops, flops_per_pair, peak_flops, step_flops
from jaxedit.train.objectives.registry import abstract_objective
from jaxedit.train.step_memory import batch_shapes


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


@pytest.mark.parametrize("name", RUNS)
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


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("cpu", None),
    ],
)
def test_peaks(kind, peak):
    assert peak_flops(kind) == peak
