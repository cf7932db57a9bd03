import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.train import losses
from jaxedit.train.losses import (
    accuracy_by_quarter,
    bitwise_loss,
    distillation_loss,
    head_loss,
    mean_of_rows,
    mean_where,
    scale_weights,
    token_loss,
)

SCALES = ((1, 1), (2, 2))


def test_scale_weights_by_hand():
    np.testing.assert_allclose(scale_weights(SCALES, "sqrt_area"), [1 / 3, 2 / 3])
    np.testing.assert_allclose(scale_weights(SCALES, "uniform"), [1 / 5, 4 / 5])


def test_loss_by_hand():
    logits = jnp.zeros((1, 5, 2, 2)).at[0, 0, :, 1].set(math.log(3))  # scale 1: P(True) = 3/4
    bits = jnp.ones((1, 5, 2), bool).at[0, 0, 1].set(False)
    result = bitwise_loss(logits, bits, SCALES, "uniform")
    first = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    np.testing.assert_allclose(result.per_scale, [first, math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(result.loss, first / 5 + math.log(2) * 4 / 5, rtol=1e-6)
    np.testing.assert_allclose(result.accuracy[0], 0.5)


@pytest.mark.parametrize("name", ["a256", "b_patchify"])
def test_equals_the_release(golden, name):
    arrays, description = golden(f"varedit_transformer_{name}")
    scales = tuple((h, w) for _, h, w in description["config"]["scale_schedule"])
    logits = arrays["train.logits"]
    logits = logits.reshape(*logits.shape[:2], -1, 2)
    bits = jnp.asarray(arrays["bsc.noisy.gt_bits"], bool)
    for kind, key in (("uniform", "loss_uniform"), ("sqrt_area", "loss_reweighted")):
        result = bitwise_loss(jnp.asarray(logits), bits, scales, kind)
        np.testing.assert_allclose(result.loss, arrays[f"train.{key}"][0], rtol=1e-5)
        np.testing.assert_allclose(result.per_scale, arrays["train.loss_per_scale"], rtol=1e-5)
        np.testing.assert_allclose(result.accuracy, arrays["train.acc_per_scale"], rtol=1e-5)


def test_gradient_is_finite_for_certain_bits():
    logits = jnp.full((1, 5, 2, 2), 1e4).at[..., 0].set(-1e4)
    bits = jnp.zeros((1, 5, 2), bool)
    grad = jax.grad(lambda x: bitwise_loss(x, bits, SCALES).loss)(logits)
    assert jnp.isfinite(grad).all() and (grad[..., 1] > 0).all()


def test_token_loss_by_hand():
    logits = jnp.zeros((1, 2, 4)).at[0, 0, 1].set(math.log(3))  # P = 1/6, 3/6, 1/6, 1/6
    result = token_loss(logits, jnp.array([[1, 2]]))
    np.testing.assert_allclose(result.loss, (math.log(2) + math.log(4)) / 2, rtol=1e-6)
    assert result.right.tolist() == [[True, False]]  # of equal ones the first is the likeliest


def test_head_loss_by_parts_equals_all_logits(monkeypatch):
    hidden, kernel = (
        jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(2, 5, 8), (8, 12)])
    )
    codes = jnp.array([[0, 3, 4, 11, 7], [1, 2, 3, 4, 5]])

    def value_and_gradient():
        call = jax.value_and_grad(lambda *x: tuple(head_loss(*x, codes)), (0, 1), has_aux=True)
        return jax.jit(call)(hidden, kernel)

    whole = value_and_gradient()
    np.testing.assert_allclose(whole[0][0], token_loss(hidden @ kernel, codes).loss, rtol=1e-6)
    monkeypatch.setattr(losses, "CODES_AT_ONCE", 4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, value_and_gradient()
    )
    program = str(jax.make_jaxpr(jax.grad(lambda h: head_loss(h, kernel, codes).loss))(hidden))
    assert "f32[2,5,4]" in program and "f32[2,5,12]" not in program


def test_distillation_loss_by_hand():
    student, teacher = jnp.array([[[1.0, 2.0]]]), jnp.array([[[0.0, 4.0]]])
    assert distillation_loss(student, teacher) == 2.5
    assert not jax.grad(distillation_loss, 1)(student, teacher).any()


def test_mean_where_by_hand():
    values = jnp.array([[1.0, 2.0, 6.0]])
    assert mean_where(values, values > 1) == 4
    assert mean_where(values, values > 9) == 0


def test_mean_of_rows_by_hand():
    values = jnp.array([[[1.0, 2.0]], [[3.0, 6.0]], [[50.0, 60.0]]])  # [3,1,2]
    valid = jnp.array([True, True, False])
    assert mean_of_rows(values, valid) == 3.0
    np.testing.assert_array_equal(mean_of_rows(values, valid, (0, 1)), [2.0, 4.0])
    assert mean_of_rows(values, None) == values.mean()
    np.testing.assert_array_equal(mean_of_rows(values, None, (0, 1)), values.mean((0, 1)))
    assert mean_of_rows(values, jnp.zeros(3, bool)) == 0.0
    assert mean_of_rows(jnp.array([[2.0], [np.nan]]), valid[1:]) == 2.0  # filled up with anything


def test_accuracy_by_quarter_by_hand():
    right = jnp.array([[1, 1, 0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1, 1, 1]], bool)
    found = accuracy_by_quarter(right, None)
    assert [float(found[f"accuracy_q{i}"]) for i in (1, 2, 3, 4)] == [0.75, 0.25, 0.5, 0.75]
    found = accuracy_by_quarter(right, jnp.array([True, False]))
    assert [float(found[f"accuracy_q{i}"]) for i in (1, 2, 3, 4)] == [1.0, 0.5, 0.0, 0.5]
