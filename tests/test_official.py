"""The official names: sizes against the published ones, settings against the releases' scripts."""

import dataclasses
import functools

import jax
import pytest

from jaxedit import rng, tree
from jaxedit.checkpoints import pretrained
from jaxedit.config import (
    OFFICIAL,
    ConfigError,
    PretrainedConfig,
    VAREditConfig,
    family_of,
    official,
    require_purpose,
)
from jaxedit.convert.detect import KINDS
from jaxedit.models import editar, varedit

NETWORKS = {"varedit": "transformer", "editar": "transformer"}
# Published numbers of parameters, without the buffers that EditAR keeps beside them.
T5_XL, VQ16, D32, D56 = 1_223_527_424, 71_883_403, 110_118_051, 81_624_209
VAREDIT_2B = {"bsq": D32, "transformer": 2_204_564_032, "t5": T5_XL}
VAREDIT_8B = {"bsq": D56, "transformer": 8_375_791_824, "t5": T5_XL}
CLASSES = {
    "b": 110_888_448,
    "l": 342_910_976,
    "xl": 774_699_520,
    "xxl": 1_410_972_672,
    "3b": 3_096_659_200,
}
COUNTS = {
    "varedit-2b-512": VAREDIT_2B,
    "varedit-8b-512": VAREDIT_8B,
    "varedit-8b-1024": VAREDIT_8B,
    "infinity-2b": VAREDIT_2B,
    "infinity-8b-512": VAREDIT_8B,
    "infinity-8b-1024": VAREDIT_8B,
    "editar-512": {"vq": VQ16, "transformer": 781_611_008, "t5": T5_XL},
    "llamagen-t2i-xl-256": {"vq": VQ16, "transformer": 777_678_080, "t5": T5_XL},
    "llamagen-t2i-xl-512": {"vq": VQ16, "transformer": 777_678_080, "t5": T5_XL},
    "infinity-vae-d32": {"bsq": D32},
    "infinity-vae-d56": {"bsq": D56},
    "llamagen-vq16-t2i": {"vq": VQ16},
    "llamagen-vq16-c2i": {"vq": VQ16},
    "llamagen-vq8-c2i": {"vq": 70_109_835},
    "flan-t5-xl": {"t5": T5_XL},
    "dinov2-base": {"vit": 86_579_712},  # and 768 that only its own training uses
    "dino-vitb8": {"vit": 85_807_872},
    "dino-vits16": {"vit": 21_665_664},
    "clip-vit-large-patch14": {"clip": 427_616_513},
    "clip-vit-base-patch32": {"clip": 151_277_313},
    "clip-vit-base-patch16": {"clip": 149_620_737},
    "lpips-squeeze": {"lpips": 722_496 + 2_240},  # SqueezeNet 1.1 without its classifier
    "lpips-vgg": {"lpips": 14_714_688 + 1_472},
    "inception": {"inception": 21_785_568 + 34_432},  # with the statistics of its norms
}


@functools.cache
def count(kind, part) -> int:
    """Parameters of a network; schedules and grids, which change none, are left as they are."""
    key = rng.key_for(0, "init")
    if kind == "varedit":
        shapes = jax.eval_shape(lambda: varedit.init_params(part, key))
    elif kind == "editar":
        shapes = jax.eval_shape(lambda: editar.init_params(part, key))
    else:
        shapes = pretrained.abstract_params(PretrainedConfig(model_type=kind, **{kind: part}))
    return tree.count(shapes)


@pytest.mark.parametrize("name", OFFICIAL)
def test_it_has_the_published_size(name):
    release = official(name)
    config, found = release.config, {}
    for source in release.sources:
        part = getattr(config, source.kind)
        if source.kind == "varedit":
            usual = {
                n: getattr(VAREditConfig(), n) for n in ("scales", "rope_mode", "conditioning")
            }
            part = dataclasses.replace(part, **usual)
        if source.kind == "editar":
            part = dataclasses.replace(part, grid=16)
        found[NETWORKS.get(source.kind, source.kind)] = count(source.kind, part)
    assert found == (COUNTS.get(name) or {"vq": VQ16, "transformer": CLASSES[name.split("-")[2]]})


@pytest.mark.parametrize("name", OFFICIAL)
def test_its_settings_are_valid_and_every_network_has_a_source(name):
    release = official(name)
    release.config.validate()
    networks = family_of(release.config).networks
    kinds = {source.kind for source in release.sources}
    assert kinds <= KINDS.keys()
    assert len(kinds) == len(release.sources) or kinds == {"lpips"}  # which has two files
    assert len(kinds) == len([n for n in networks if n != "null"])
    for source in release.sources:
        assert source.licence and (source.repo or source.home) and source.place


@pytest.mark.parametrize(
    "name, pixels, rope, conditioning, guidance, temperature",
    [
        ("varedit-2b-512", 512, "release", "sar", 4.0, 0.5),
        ("varedit-8b-512", 512, "release", "sar", 4.0, 0.5),
        ("varedit-8b-1024", 1024, "release", "sar", 4.0, 0.5),
        ("infinity-2b", 1024, "grid", "none", 3.0, 1.0),
        ("infinity-8b-512", 512, "grid", "none", 3.0, 1.0),
    ],
)
def test_next_scale_settings(name, pixels, rope, conditioning, guidance, temperature):
    config = official(name).config
    assert config.varedit.latent_scales[-1][0] * config.bsq.stride == pixels
    assert (config.varedit.rope_mode, config.varedit.conditioning) == (rope, conditioning)
    assert (config.sample.guidance, config.sample.temperature) == (guidance, temperature)
    assert config.sample.top_p == 0.97


@pytest.mark.parametrize(
    "name, pixels, prefix, guidance, top_k",
    [
        ("editar-512", 512, "edit", 3.0, 1000),
        ("llamagen-t2i-xl-256", 256, "text", 7.5, 1000),
        ("llamagen-t2i-xl-512", 512, "text", 7.5, 1000),
        ("llamagen-c2i-b-256", 256, "class", 4.0, 2000),
        ("llamagen-c2i-3b-384", 384, "class", 4.0, 2000),
    ],
)
def test_next_token_settings(name, pixels, prefix, guidance, top_k):
    config = official(name).config
    assert config.editar.grid * config.vq.stride == pixels and config.editar.prefix == prefix
    sample = config.token_sample
    assert (sample.guidance, sample.top_k, sample.top_p) == (guidance, top_k, 1.0)


def test_what_each_release_is_for():
    purposes = {name: family_of(release.config).purpose for name, release in OFFICIAL.items()}
    editors = [name for name, purpose in purposes.items() if purpose == "edit"]
    assert editors == ["varedit-2b-512", "varedit-8b-512", "varedit-8b-1024", "editar-512"]
    drawing = [name for name, purpose in purposes.items() if purpose == "draw"]
    assert len(drawing) == 12 and all("infinity" in n or "llamagen" in n for n in drawing)
    for name in drawing:
        with pytest.raises(ConfigError, match="python -m jaxedit.generate"):
            require_purpose(official(name).config, "edit")
    assert purposes["infinity-vae-d32"] == purposes["flan-t5-xl"] == ""


def test_changing_one_changes_no_other():
    official("varedit-2b-512").config.varedit.depth = 2
    assert official("varedit-2b-512").config.varedit.depth == 32


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(ConfigError, match="'varedit-2b': expected varedit-2b-512"):
        official("varedit-2b")
    with pytest.raises(ConfigError, match="'qqq': expected varedit-2b-512, .*clip"):
        official("qqq")


def test_where_a_file_is():
    t2i, tokenizer, text = official("llamagen-t2i-xl-512").sources
    assert t2i.place == "peizesun/llamagen_t2i/t2i_XL_stage2_512.pt"
    assert text.place == "google/flan-t5-xl"
    release = official("editar-512").sources[0]
    assert release.place == "editar_release.pt from https://github.com/JitengMu/EditAR"
