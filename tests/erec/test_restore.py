import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.checkpoints import pretrained
from jaxedit.config import EDITAR_PRESETS, ERecConfig
from jaxedit.erec import dual_path, restore
from jaxedit.erec.edit_mask import split
from jaxedit.sampling import sample_editar
from jaxedit.sampling.methods import TokenSampling, numbers_of

B, N = 2, 16


@pytest.fixture(scope="module")
def config():
    """A model of 4 x 4 tokens and 8 pixels."""
    config = copy.deepcopy(EDITAR_PRESETS["tiny"])
    config.editar = dataclasses.replace(
        config.editar, layers=1, width=32, heads=2, mlp_hidden=64, codes=64, grid=4
    )
    config.vq = dataclasses.replace(config.vq, codes=64, channel_mult=(1, 1), latent_width=24)
    config.t5.layers = 1
    config.token_sample.top_k = 16
    return config


@pytest.fixture(scope="module")
def model(config):
    """Networks with random weights, pictures, their source, texts and seeds."""
    generator = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.4 * generator.standard_normal(leaf.shape, np.float32),
        pretrained.abstract_params(config),
    )
    networks = sample_editar.prepare(config, params, "float32")
    pixels = jnp.asarray(generator.integers(0, 256, (B, 8, 8, 3), np.uint8))
    source = sample_editar.read_source(networks, pixels, config=config)
    shape = (B, 2, config.editar.text_tokens)
    text = jnp.asarray(generator.standard_normal((*shape, config.t5.width), np.float32))
    return networks, pixels, source, (text, jnp.ones(shape, bool), jnp.arange(B))


def run(config, model, sample=None, **changes):
    networks, _, source, rest = model
    return dual_path.decode(
        networks,
        source,
        *rest,
        sample=dataclasses.replace(config.token_sample, **(sample or {})),
        erec=ERecConfig(**changes),
        config=config,
        segment=N,
    )


def refined(config, model, paths, **changes):
    networks, pixels, source, _ = model
    thresholds, rest = split(ERecConfig(**changes))
    return restore.refine(
        networks.vq, pixels, source.codes, paths, thresholds, erec=rest, config=config
    )


@pytest.fixture(scope="module")
def paths(config, model):
    return run(config, model)


def test_editing_path_is_editar(config, model, paths):
    networks, _, source, (text, mask, seeds) = model
    state = sample_editar.begin(
        networks.weights,
        source.prefix,
        text[:, 1:],
        mask[:, 1:],
        rows=(0, None),
        slots=N + 1,
        config=config.editar,
    )
    method = TokenSampling(seeds, numbers_of(config.token_sample))
    tokens, *_ = sample_editar.generate(
        networks.weights, source.prefix, state, method, config=config.editar, segment=N
    )
    np.testing.assert_array_equal(tokens[:, 0], paths.edit)
    assert (paths.edit != paths.rec).any()


def test_the_same_words_on_both_paths_agree(config, model):
    networks, pixels, source, (text, mask, seeds) = model
    same = (networks, pixels, source, (text.at[:, 0].set(text[:, 1]), mask, seeds))
    shared = run(config, same)
    np.testing.assert_array_equal(shared.rec, shared.edit)
    np.testing.assert_allclose(shared.maps.js, 0, atol=1e-5)
    np.testing.assert_allclose(shared.maps.nll_rec, shared.maps.nll_edit, atol=1e-4)
    independent = run(config, same, noise="independent")
    np.testing.assert_array_equal(independent.edit, shared.edit)
    assert (independent.rec != independent.edit).any()
    assert not refined(config, same, shared).mask.any()


def test_maps_are_finite_and_bounded(paths):
    assert paths.maps.js.shape == (B, 4, 4)
    assert (paths.maps.js >= 0).all() and (paths.maps.js <= 1).all()
    for nll in paths.maps[1:]:
        assert (nll >= 0).all() and jnp.isfinite(nll).all()


def test_the_likeliest_token_needs_no_noise(config, model):
    one = run(config, model, {"top_k": 1})
    for other in (
        run(config, model, {"greedy": True}),
        run(config, model, {"top_k": 1}, noise="independent"),
    ):
        np.testing.assert_array_equal(one.edit, other.edit)
        np.testing.assert_array_equal(one.rec, other.rec)


def test_rows_do_not_depend_on_the_batch(config, model, paths):
    networks, pixels, source, rest = model
    alone = run(config, (networks, pixels, *jax.tree.map(lambda x: x[1:], (source, rest))))
    np.testing.assert_array_equal(alone.edit, paths.edit[1:])
    np.testing.assert_array_equal(alone.rec, paths.rec[1:])


def test_guidance_of_the_reconstruction(config, model, paths):
    none = run(config, model, recon_guidance="none")
    np.testing.assert_array_equal(none.edit, paths.edit)
    assert (none.maps.nll_rec != paths.maps.nll_rec).any()
    off = run(config, model, {"guidance": 1.0})
    np.testing.assert_array_equal(off.rec, none.rec)


def test_null_rows_without_image(config, model):
    own, shared = (
        run(config, model, {"guidance_mode": "dual"}, recon_guidance=name)
        for name in ("own", "shared")
    )
    np.testing.assert_array_equal(own.edit, shared.edit)
    assert (own.maps.nll_rec != shared.maps.nll_rec).any()


def test_replaced_tokens_are_the_sources(config, model):
    codes = model[2].codes
    everything = run(config, model, direct_replacement=True, tau_replace=2.0)  # JS is at most 1
    np.testing.assert_array_equal(everything.edit, codes)
    some = run(config, model, direct_replacement=True, tau_replace=0.3)
    is_low = some.maps.js.reshape(B, -1) < 0.3
    np.testing.assert_array_equal(some.edit[is_low], codes[is_low])
    mask = refined(config, model, some, direct_replacement=True, tau_replace=0.3).mask
    np.testing.assert_array_equal(mask.reshape(B, -1), ~is_low)


def test_refinement(config, model, paths):
    networks, pixels, source, _ = model
    nowhere = refined(config, model, paths, tau_js=2.0)
    np.testing.assert_array_equal(nowhere.pixels, pixels)  # residual of the very same tokens
    np.testing.assert_array_equal(nowhere.tokens, source.codes)
    off = refined(config, model, paths, refine=False)
    np.testing.assert_array_equal(off.tokens, paths.edit)
    np.testing.assert_array_equal(
        off.pixels, sample_editar.draw(networks.vq, paths.edit, config=config)
    )
    free = {"use_nll_low": False, "use_nll_high": False, "dilation": 1}
    median = float(jnp.median(paths.maps.js))
    some = refined(config, model, paths, tau_js=median, **free)
    assert 0 < some.mask.mean() < 1
    np.testing.assert_array_equal(
        some.tokens, jnp.where(some.mask.reshape(B, -1), paths.edit, source.codes)
    )
    pasted = refined(config, model, paths, tau_js=median, hard_paste=True, **free)
    outside = ~np.repeat(np.repeat(some.mask, 2, 1), 2, 2)
    np.testing.assert_array_equal(pasted.pixels[outside], pixels[outside])
