import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import ConfigError, ScaleERecConfig, VAREditConfig
from jaxedit.erec import dual_path_scales
from jaxedit.erec.dual_path import layout
from jaxedit.erec.dual_path_scales import DualPathBitSampling, deciding_scales
from jaxedit.erec.edit_mask import split
from jaxedit.models.varedit import VAREdit, init_params
from jaxedit.ops import quantize
from jaxedit.sampling import next_scale
from jaxedit.sampling.lock import source_bits
from jaxedit.sampling.methods import BitSampling, draw_uniforms
from jaxedit.sampling.next_scale import Network

CONFIG = VAREditConfig(
    depth=2,
    width=16,
    heads=2,
    mlp_hidden=32,
    bits=4,
    text_width=8,
    text_pool_heads=2,
    max_text_tokens=4,
    rope_mode="grid",
    rope_scales=((1, 1), (2, 2), (4, 4)),
    scales=((1, 1), (2, 2), (4, 4)),
)
B, K = 2, 3
NUMBERS = {
    "guidance": jnp.full(K, 2.0),
    "temperature": jnp.full(K, 0.1),
    "top_p": jnp.float32(1),
}


@pytest.fixture(scope="module")
def inputs():
    """The network, texts [B,2,T,Ct] and their masks, and the sources' features."""
    shapes = jax.eval_shape(lambda key: init_params(CONFIG, key), jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    params = structure.unflatten(
        0.3 * jax.random.normal(key, s.shape) for key, s in zip(keys, leaves, strict=True)
    )
    network = Network(VAREdit(CONFIG), params, CONFIG.scales, CONFIG.rope_scales)
    text = jax.random.normal(jax.random.key(1), (B, 2, 4, 8))
    source = jax.random.normal(jax.random.key(2), (B, 4, 4, 4))
    return network, text, jnp.arange(4)[None, None] < jnp.array([[4, 2], [1, 3]])[..., None], source


def uniforms(seed):
    keys = jax.vmap(lambda s: rng.key_for(s, "bits"))(seed + jnp.arange(B))
    return draw_uniforms(keys, CONFIG.scales, CONFIG.token_bits)


@functools.cache
def mask_program(erec, guided):
    """`find_mask`, compiled; all but `erec` and `guided` are arguments."""
    rows = layout(erec.recon_guidance, 2)

    def run(params, network, text, mask, source, thresholds, editable):
        network = network._replace(params=params, guided=guided)
        tokens = quantize.source_tokens(source, patchify=False)
        state = next_scale.begin(network, text, mask, tokens, paths=rows.path, dropped=rows.dropped)
        method = DualPathBitSampling((uniforms(0),) * 2, NUMBERS, rows, erec.probabilities)
        return dual_path_scales.find_mask(
            network, state, source, method, thresholds, erec=erec, editable=editable
        )

    return compiled(run)


@functools.cache
def edit_program(runs, guided):
    """`finish`, compiled; all but `runs` and `guided` are arguments."""

    def run(params, network, found, source):
        network = network._replace(params=params, runs=runs, guided=guided)
        method = BitSampling(uniforms(0), NUMBERS)
        return dual_path_scales.finish(network, found, source, method)

    return compiled(run)


def compiled(run):
    """A jitted function of a network, whose schedules are not traced, and of arrays."""
    parts = {}

    def call(network, *arrays):
        parts["jit"] = parts.get("jit") or jax.jit(
            lambda params, *arrays: run(params, network, *arrays)
        )
        return parts["jit"](network.params, *arrays)

    return call


EVERYWHERE = jnp.ones((B, 8, 8), bool)


def run(inputs, editable=EVERYWHERE, runs=(), same_text=False, **options):
    """Both paths, and the edit inside the mask."""
    network, text, mask, source = inputs
    defaults = {"tau_low": 0.0, "tau_high": np.inf, "mask_from": 0.5, "growth": 1}
    erec = ScaleERecConfig(**defaults | options)
    thresholds, structure = split(erec)
    if same_text:
        text, mask = text[:, [1, 1]], mask[:, [1, 1]]
    program = mask_program(structure, network.guided)
    found = program(network, text, mask, source, thresholds, editable)
    return found, *edit_program(runs, network.guided)(network, found, source)


def plain(inputs):
    network, text, mask, source = inputs
    return jax.jit(
        lambda params: next_scale.generate(
            network.model,
            params,
            text[:, 1],
            mask[:, 1],
            quantize.source_tokens(source, patchify=False),
            BitSampling(uniforms(0), NUMBERS),
            scales=CONFIG.scales,
            rope_scales=CONFIG.rope_scales,
            guided=network.guided,
        )
    )(network.params)


def test_two_passes(inputs):
    """The first pass is the edit without a second path, and so is a mask of everything."""
    bits, feature = plain(inputs)
    found, made, _ = run(inputs, passes="two", tau_js=-np.inf, tau_low=-np.inf)
    np.testing.assert_allclose(found.features["raw_edit"], feature, atol=1e-6)
    assert 0 < found.maps.js.max() <= 1 and found.maps.nll_edit.min() >= 0
    assert found.mask.all()
    jax.tree.map(np.testing.assert_array_equal, made, bits)

    editable = EVERYWHERE.at[:, 4:].set(False)
    found, made, _ = run(inputs, editable, passes="two", tau_js=-np.inf, tau_low=-np.inf)
    assert found.mask[:, :2].all() and not found.mask[:, 2:].any()


@pytest.mark.parametrize("passes", ["one", "two"])
def test_a_fine_scale_without_guidance(inputs, passes):
    network, *rest = inputs
    inputs = (network._replace(guided=1), *rest)
    _, made, _ = run(inputs, passes=passes, tau_js=-np.inf, tau_low=-np.inf)
    jax.tree.map(np.testing.assert_array_equal, made, plain(inputs)[0])


@pytest.mark.parametrize("passes", ["one", "two"])
def test_equal_texts_leave_the_source(inputs, passes):
    network, *_, source = inputs
    found, bits, _ = run(inputs, same_text=True, passes=passes)
    np.testing.assert_array_equal(found.maps.js, 0)
    assert not found.mask.any()
    feature = jnp.zeros((B, 1, 4, 4, 4))
    for k, size in enumerate(CONFIG.scales):
        if k >= (passes == "one") * 2:  # the coarse scales of one pass were drawn
            own = source_bits(source, feature, size, False)[:, 0]
            np.testing.assert_array_equal(bits[k], own)
        feature = quantize.accumulate(feature[:, 0], bits[k], size, (4, 4), False)[:, None]


def test_some_tokens_of_the_fine_scale(inputs):
    editable = jnp.zeros((B, 8, 8), bool).at[:, :4, :4].set(True)
    options = {"editable": editable, "tau_js": -np.inf, "tau_low": -np.inf}
    _, everything, _ = run(inputs, **options)
    found, bits, _ = run(inputs, runs=(1, 4, 5), **options)
    jax.tree.map(np.testing.assert_array_equal, bits[:2], everything[:2])
    inside = np.array(found.mask).reshape(B, 16)
    assert inside.sum() == 4 * B
    np.testing.assert_array_equal(np.array(bits[2])[~inside], np.array(everything[2])[~inside])


@pytest.mark.slow
def test_direct_replacement(inputs):
    never = run(inputs, direct_replacement=True, tau_replace=-np.inf)
    jax.tree.map(np.testing.assert_array_equal, never[1], plain(inputs)[0])
    always, bits, _ = run(inputs, direct_replacement=True, tau_replace=np.inf)
    assert not always.mask.any()
    own, _ = quantize.encode_scales(inputs[3], CONFIG.latent_scales)
    for got, expected in zip(bits, own, strict=True):
        np.testing.assert_array_equal(got, expected.reshape(B, -1, 4))


def test_deciding_scales():
    grids = tuple((n, n) for n in (1, 2, 4, 6, 8, 12, 16, 20, 24, 32))
    assert deciding_scales(grids, 0.25, 0.5) == range(4, 7)
    assert deciding_scales(grids, 0.25, 1.0) == range(4, 10)
    with pytest.raises(ConfigError, match="mask_from=0.6, mask_until=0.61: expected a range"):
        deciding_scales(grids, 0.6, 0.61)


def test_settings():
    with pytest.raises(ConfigError, match="mask_from=0.9"):
        dataclasses.replace(ScaleERecConfig(), mask_from=0.9).validate()
