import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import ERecConfig
from jaxedit.erec import dual_path
from jaxedit.sampling.methods import guide_tokens

V = 96


def step(cond, guided, noise, source, *, top_k=V, tau_replace=0.3, **config):
    """`token_step` of numpy arrays."""
    return jax.tree.map(
        np.array,
        dual_path.token_step(
            *(jnp.asarray(x) for x in (cond, guided, noise, source)),
            numbers={"top_k": jnp.int32(top_k), "top_p": jnp.float32(1)},
            tau_replace=jnp.float32(tau_replace),
            config=ERecConfig(**config),
        ),
    )


@pytest.fixture
def golden_rows(golden):
    """cond, guided, noise and source of the golden positions, as a batch; and the arrays."""
    arrays, description = golden("erec_numerics_tiny")
    rows = {
        path: jnp.stack([arrays[f"in/logits_{kind}_{path}"] for kind in ("cond", "null")], axis=1)
        for path in ("rec", "edit")
    }
    scale = jnp.float32(description["config"]["cfg_scale"])
    guided = [guide_tokens(x, scale, scale, jnp.bool(True)) for x in rows.values()]
    cond = jnp.stack([x[:, 0] for x in rows.values()], axis=1)
    noise = jnp.stack([arrays["in/gumbel_shared"]] * 2, axis=1)
    return (cond, jnp.stack(guided, axis=1), noise, arrays["in/source_tokens"]), arrays


@pytest.mark.parametrize("reading", ["cfg", "cond", "truncated"])
def test_golden_step(golden_rows, reading):
    rows, arrays = golden_rows
    for i, path in enumerate(("rec", "edit")):
        np.testing.assert_allclose(rows[1][:, i], arrays[f"out/cfg_logits_{path}"], atol=2e-5)
    name = "guided" if reading == "cfg" else reading
    found = step(*rows, top_k=24, probabilities=name)
    np.testing.assert_array_equal(found.rec, arrays["out/tokens_rec"])
    np.testing.assert_array_equal(found.edit, arrays["out/tokens_edit"])
    for name, tolerance in (("js", 1e-5), ("nll_rec", 1e-4), ("nll_edit", 1e-4)):
        expected = arrays[f"out/{reading}/{name}"].reshape(-1)
        np.testing.assert_allclose(getattr(found, name), expected, atol=tolerance)


def test_golden_ablations(golden_rows):
    (cond, guided, noise, source), arrays = golden_rows
    own = noise.at[:, 1].set(arrays["in/gumbel_edit_independent"])
    found = step(cond, guided, own, source, top_k=24)
    np.testing.assert_array_equal(found.rec, arrays["out/tokens_rec"])
    np.testing.assert_array_equal(found.edit, arrays["out/tokens_edit_independent"])
    found = step(cond, guided, noise, source, top_k=24, direct_replacement=True)
    np.testing.assert_array_equal(found.edit, arrays["out/direct_replacement_tokens_js0.3"])


def test_rows_by_hand():
    own = dual_path.layout("own", 2)
    assert own == ((0, 1, 0, 1), (0, 2), (1, 3)) and own.texts == (0, 1, None, None)
    assert dual_path.layout("own", 3) == ((0, 1, 0, 1, 0, 1), (0, 2, 4), (1, 3, 5))
    assert dual_path.layout("shared", 2) == ((0, 1, 1), (0, 2), (1, 2))
    assert dual_path.layout("shared", 3) == ((0, 1, 1, 1), (0, 2, 3), (1, 2, 3))
    assert dual_path.layout("none", 3) == ((0, 1, 1, 1), (0,), (1, 2, 3))
    for name in ("own", "shared", "none"):
        assert dual_path.layout(name, 1) == ((0, 1), (0,), (1,))


def test_noise():
    seeds = jnp.array([3, 4], jnp.int32)
    draw = functools.partial(dual_path.path_noise, seeds, jnp.full(2, 5), V)
    shared, independent, batch = (
        draw(ERecConfig(**settings))
        for settings in ({}, {"noise": "independent"}, {"gumbel_key": "batch"})
    )
    np.testing.assert_array_equal(shared[:, 0], shared[:, 1])
    np.testing.assert_array_equal(independent[:, 1], shared[:, 1])
    assert (independent[:, 0] != shared[:, 0]).all(axis=1).all()
    assert (shared[0] != shared[1]).any()
    np.testing.assert_array_equal(batch, jnp.stack([shared[0]] * 2))


def test_two_codes_by_hand():
    cond = np.log(np.array([[[0.9, 0.1], [0.9, 0.1]], [[1.0, 1e-30], [1e-30, 1.0]]], np.float32))
    found = step(cond, cond, np.zeros((2, 2, 2), np.float32), np.array([1, 1], np.int32), top_k=2)
    np.testing.assert_array_equal(found.rec, [0, 0])
    np.testing.assert_array_equal(found.edit, [0, 1])
    np.testing.assert_allclose(found.js, [0, 1], atol=1e-6)
    np.testing.assert_allclose(found.nll_edit, [-np.log(0.1), 0], atol=1e-6)


def test_noise_never_leaves_the_candidates():
    generator = np.random.default_rng(2)
    logits = generator.standard_normal((8, 2, V), np.float32)
    noise = 50 * generator.standard_normal((8, 2, V), np.float32)
    found = step(logits, logits, noise, np.zeros(8, np.int32), top_k=1)
    np.testing.assert_array_equal(np.stack([found.rec, found.edit], 1), logits.argmax(-1))
