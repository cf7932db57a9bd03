import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.sampling.methods import truncate
from jaxedit.sampling.truncation import among_largest


def kept(logits, top_k, top_p):
    """Logits after top-k and top-p."""
    return truncate(jnp.asarray(logits), {"top_k": jnp.int32(top_k), "top_p": jnp.float32(top_p)})


@pytest.mark.parametrize("case", range(9))
def test_candidates_match_release(golden, case):
    arrays, description = golden("llamagen_gpt_sampling_filter")
    settings = description["cases"][case]
    logits = jnp.asarray(arrays["in/logits"][: settings["rows"]]) / settings["temperature"]
    top_k = settings["top_k"] or logits.shape[-1]
    found = kept(logits, top_k, settings["top_p"])
    np.testing.assert_array_equal(found > -jnp.inf, arrays[f"out/case{case}_keep"].astype(bool))
    np.testing.assert_allclose(jax.nn.softmax(found), arrays[f"out/case{case}_probs"], atol=1e-6)


def test_bisection_equals_sorting():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((6, 300)).astype(np.float32) * 10 ** np.arange(-3.0, 3)[:, None]
    x = x.astype(np.float32)
    x[0, :50], x[1, :7], x[2, :9], x[3] = 0.0, -np.inf, np.inf, np.round(x[3])  # ties
    x[0, ::2] *= -1  # -0.0 is 0.0
    for k in (1, 2, 40, 299, 300):
        kth = np.sort(x, axis=-1)[:, -k][:, None]
        np.testing.assert_array_equal(among_largest(jnp.asarray(x), k), x >= kth, err_msg=f"{k=}")
    assert np.all(among_largest(jnp.asarray(x), 1000))


def test_nucleus_equals_sorting():
    logits = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32) * 3
    for k, p in ((64, 0.9), (64, 0.5), (64, 1e-3), (10, 0.8), (10, 1.0)):
        found = np.asarray(kept(logits, k, p)) > -np.inf
        for row, got in zip(logits.astype(np.float64), found, strict=True):
            order = np.argsort(-row)[:k]
            probability = np.exp(row[order]) / np.exp(row[order]).sum()
            before = np.cumsum(probability) - probability
            assert sorted(order[before <= p]) == list(np.nonzero(got)[0])


@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.4, 0.9, 0.999])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 30.0, 1e4])
def test_the_likeliest_stays_and_the_nucleus_is_no_larger_than_need_be(top_p, scale):
    logits = scale * np.random.default_rng(2).standard_normal((20, 33)).astype(np.float32)
    found = np.asarray(kept(logits, 33, top_p))
    assert not np.isnan(found).any()
    for row, is_kept in zip(logits.astype(np.float64), found > -np.inf, strict=True):
        assert is_kept[np.argmax(row)]
        probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        least = row[is_kept].min()
        assert (row[~is_kept] < least).all()
        assert probabilities[row > least].sum() <= top_p + 1e-6  # without the last ones too few
        assert is_kept.all() or probabilities[is_kept].sum() > top_p - 1e-6


def test_nothing_is_dropped_when_both_are_off():
    logits = jnp.array([1.0, -50.0, 0.0])
    np.testing.assert_array_equal(kept(logits, 3, 1), logits)
