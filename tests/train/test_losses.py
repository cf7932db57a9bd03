import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.train.losses import bitwise_loss, scale_weights

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
