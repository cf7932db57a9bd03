import jax
import jax.numpy as jnp
import pytest

from jaxedit.train import command
from jaxedit.train.flops import Work, peak_of, training_flops, work_of_step
from jaxedit.train.memory import abstract_objective, batch_shapes

X, W = jnp.zeros((5, 3)), jnp.zeros((3, 7))
FORWARD = 2 * 5 * 3 * 7


def test_products_by_hand():
    assert training_flops(lambda w: (X @ w).sum(), W) == 2 * FORWARD  # X has no gradient
    assert training_flops(lambda ws: (X @ ws[0] @ ws[1]).sum(), (W, jnp.zeros((7, 7)))) == (
        2 * FORWARD + 3 * 2 * 5 * 7 * 7
    )


def test_frozen_networks_count_once():
    frozen = jnp.zeros((7, 3))

    def loss(w, frozen):
        return (X @ W @ frozen @ jax.lax.stop_gradient(w)).sum() + (X @ w).sum()

    assert training_flops(loss, W, frozen) == 3 * FORWARD + 2 * FORWARD


def test_convolution_by_hand():
    def loss(kernel):
        x = jnp.zeros((1, 8, 8, 4))
        out = jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return out.sum()

    assert training_flops(loss, jnp.zeros((3, 3, 4, 6))) == 2 * (2 * 4 * 4 * 6 * 3 * 3 * 4)


def test_loops_and_what_is_computed_again():
    square = jnp.zeros((3, 3))

    def loss(w):
        @jax.checkpoint
        def layer(x, _):
            return jnp.tanh(x @ w), None

        return jax.lax.scan(layer, X, None, length=4)[0].sum()

    once = 2 * 5 * 3 * 3
    assert training_flops(loss, square) == 4 * 3 * once  # X depends on w after a layer


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "paper"), [("editar.py:xl", 10.9), ("var_sar.py:2b", 46.1)])
def test_large_models_by_their_formula(preset, paper):
    """6 x weights x tokens + 12 x L x C x attended pairs; then the frozen networks come on top."""
    config = command.parse(["", "--workdir=x", f"--config=configs/{preset}"]).config
    objective = abstract_objective(config)
    work = work_of_step(config, objective, batch_shapes(config, 1))
    assert paper < work.flops / config.data.batch_size / 1e12 < 1.16 * paper


def test_work_of_a_step_does_not_depend_on_accumulation():
    def flops(*settings):
        arguments = ["", "--workdir=x", "--config=configs/editar.py:tiny", *settings]
        config = command.parse(arguments).config
        return work_of_step(config, abstract_objective(config), batch_shapes(config, 1)).flops

    assert flops() == pytest.approx(flops("--config.optim.accumulate=2"))


def test_rates_by_hand():
    rates = Work(flops=4e12, devices=2, peak=1e13).rates(steps_per_second=0.5)
    assert rates == {"tflops_per_device": 1.0, "mfu": 0.1}
    assert Work(4e12, 2, None).rates(0.5) == {"tflops_per_device": 1.0}


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
    assert peak_of(kind) == peak
