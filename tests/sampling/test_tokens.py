import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.sampling.tokens import among_largest, guide_tokens, truncate


def test_guidance_by_hand():
    rows = jnp.array([[[5.0], [3.0], [1.0]]])  # text and image, image, nothing
    on, off = jnp.array(True), jnp.array(False)
    assert guide_tokens(rows[:, :1], 3.0, 1.5, on) == 5
    assert guide_tokens(rows[:, :2], 3.0, 1.5, on) == 3 + 3 * 2
    assert guide_tokens(rows, 3.0, 1.5, on) == 1 + 1.5 * 2 + 3 * 2
    assert guide_tokens(rows, 3.0, 1.5, off) == 5


@pytest.mark.parametrize("case", range(9))
def test_candidates_match_release(golden, case):
    arrays, description = golden("llamagen_gpt_sampling_filter")
    settings = description["cases"][case]
    logits = jnp.asarray(arrays["in/logits"][: settings["rows"]]) / settings["temperature"]
    top_k = settings["top_k"] or logits.shape[-1]
    kept = truncate(logits, jnp.int32(top_k), jnp.float32(settings["top_p"]))
    np.testing.assert_array_equal(kept > -jnp.inf, arrays[f"out/case{case}_keep"].astype(bool))
    np.testing.assert_allclose(jax.nn.softmax(kept), arrays[f"out/case{case}_probs"], atol=1e-6)


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
        kept = np.asarray(truncate(jnp.asarray(logits), jnp.int32(k), jnp.float32(p))) > -np.inf
        for row, got in zip(logits.astype(np.float64), kept, strict=True):
            order = np.argsort(-row)[:k]
            probability = np.exp(row[order]) / np.exp(row[order]).sum()
            before = np.cumsum(probability) - probability
            assert sorted(order[before <= p]) == list(np.nonzero(got)[0])


@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.4, 0.9, 0.999])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 30.0, 1e4])
def test_the_likeliest_stays_and_the_nucleus_is_no_larger_than_need_be(top_p, scale):
    logits = scale * np.random.default_rng(2).standard_normal((20, 33)).astype(np.float32)
    kept = np.asarray(truncate(jnp.asarray(logits), jnp.int32(33), jnp.float32(top_p)))
    assert not np.isnan(kept).any()
    for row, is_kept in zip(logits.astype(np.float64), kept > -np.inf, strict=True):
        assert is_kept[np.argmax(row)]
        probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        least = row[is_kept].min()
        assert (row[~is_kept] < least).all()
        assert probabilities[row > least].sum() <= top_p + 1e-6  # without the last ones too few
        assert is_kept.all() or probabilities[is_kept].sum() > top_p - 1e-6


def test_nothing_is_dropped_when_both_are_off():
    logits = jnp.array([1.0, -50.0, 0.0])
    np.testing.assert_array_equal(truncate(logits, jnp.int32(3), jnp.float32(1)), logits)
