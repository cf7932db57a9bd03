import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import BSQTrainConfig
from jaxedit.train.objectives import bsq_losses

CONFIG = BSQTrainConfig()


@pytest.mark.parametrize("case", ["detach0_nodrop", "detach0_drop"])
def test_losses_and_gradients_match_the_release(golden, case):
    arrays, description = golden("bsq_tokenizer_trainloss")
    about = description["cases"][case]
    arrays = {k: v.transpose(0, 2, 3, 1) if v.ndim == 4 else v for k, v in arrays.items()}
    scales = tuple((h, w) for _, h, w in description["schedule"])
    keep = jnp.array(about["kept_scales"])

    def both(h):
        """(quantiser loss, sum of z against a cotangent), and the whole pass."""
        out = bsq_losses.quantize_pyramid(h, scales, keep, inv_temperature=100.0)
        terms = jax.tree.map(lambda t: bsq_losses.mean_of_kept(t, keep), out.terms)
        loss = bsq_losses.quantizer_loss(terms, CONFIG)
        return jnp.stack([loss, (out.features[-1] * arrays["out_cotangent"]).sum()]), out

    (total, _), out = jax.jit(both)(jnp.array(arrays["h"]))
    gradient, _ = jax.jit(jax.jacrev(both, has_aux=True))(jnp.array(arrays["h"]))
    np.testing.assert_allclose(out.features[-1], arrays[f"{case}.z"], atol=1e-6)
    sample, code, commit = np.array(
        about["per_kept_scale_persample_entropy_codebook_entropy_commit"]
    ).T
    np.testing.assert_allclose(out.terms.sample_entropy[keep], sample, atol=1e-5)
    np.testing.assert_allclose(out.terms.code_entropy[keep], code, atol=1e-5)
    np.testing.assert_allclose(out.terms.commit[keep], commit, atol=1e-7)
    each = bsq_losses.quantizer_loss(out.terms, CONFIG)[keep] / CONFIG.quantizer_weight
    np.testing.assert_allclose(each, arrays[f"{case}.all_losses"], atol=1e-7)
    np.testing.assert_allclose(total, about["total_4xmean"], atol=1e-7)
    np.testing.assert_allclose(gradient[0], arrays[f"{case}.grad_h_of_4xmean_loss"], atol=1e-8)
    expected = arrays[f"{case}.grad_h_of_sum_z_cotangent"]
    np.testing.assert_allclose(gradient[1], expected, atol=2e-5)


def test_entropy_by_hand():
    np.testing.assert_allclose(
        bsq_losses.binary_entropy(jnp.array([0.5, 0.25])), [0.693147, 0.562335], atol=1e-6
    )
    entropy = jax.jit(jax.value_and_grad(lambda p: bsq_losses.binary_entropy(p).sum()))
    value, gradient = entropy(jnp.array([0.0, 1.0]))  # jit: XLA must not fold the guard away
    assert abs(value) < 1e-6 and jnp.isfinite(gradient).all()


def test_decided_bits_have_a_finite_loss():
    bits = jnp.ones((2, 3, 3, 4), bool)
    loss = jax.jit(lambda unit: bsq_losses.quantizer_terms(unit, bits, 100.0))
    terms = loss(jnp.full((2, 3, 3, 4), 0.5))
    np.testing.assert_allclose(terms, [0, 0, 0], atol=1e-6)


def test_last_scale_is_always_kept():
    kept = jnp.stack([bsq_losses.draw_kept(rng.key_for(0, "t", i), 5, 0.5) for i in range(40)])
    assert kept[:, -1].all()
    assert 0.3 < kept[:, :-1].mean() < 0.7
    assert bsq_losses.draw_kept(rng.key_for(0, "t"), 5, 0.0).all()
    values = jnp.array([1.0, 5.0, jnp.nan])
    np.testing.assert_allclose(bsq_losses.mean_of_kept(values, jnp.array([True, True, False])), 3.0)
