import dataclasses
import pathlib

import pytest

from jaxedit.config import (
    OFFICIAL,
    PRESETS,
    BSQConfig,
    ConfigError,
    T5Config,
    ViTConfig,
    VQConfig,
    family_of,
    llamagen,
    official,
)
from jaxedit.convert.combine import combine
from jaxedit.convert.network_checkpoint import NetworkCheckpoint

T5, VQ = T5Config(), VQConfig()


def part(kind, config, where="weights.pth"):
    return NetworkCheckpoint(kind, config, {}, pathlib.Path(where))


def of_release(name, where):
    """The parts of a release as shapes tell them, which know no schedule and no grid."""
    config = official(name).config
    if config.varedit:
        shown = dataclasses.replace(config.varedit, **UNSEEN)
        return [part("varedit", shown, where), part("bsq", config.bsq), part("t5", T5)]
    shown = dataclasses.replace(config.editar, grid=16)
    texts = [] if shown.prefix == "class" else [part("t5", T5)]
    return [part("editar", shown, where), part("vq", VQ), *texts]


UNSEEN = {
    name: getattr(PRESETS["2b"].varedit, name) for name in ("scales", "rope_mode", "conditioning")
}
BY_NAME = [n for n, r in OFFICIAL.items() if family_of(r.config).purpose and n != "editar-512"]


@pytest.mark.parametrize("name", BY_NAME)
def test_files_are_known_by_their_names(name):
    found = combine(of_release(name, f"downloads/{official(name).sources[0].file}"))
    assert found.origin == name and found.config == official(name).config


@pytest.mark.parametrize("name", BY_NAME)
def test_settings_of_any_fitting_release_can_be_named(name):
    assert combine(of_release(name, "mine.pth"), name).config == official(name).config


def test_a_renamed_file_that_several_releases_fit_needs_a_name():
    with pytest.raises(ConfigError, match="--settings=varedit-2b-512 or infinity-2b"):
        combine(of_release("varedit-2b-512", "mine.pth"))


def test_a_renamed_file_that_one_release_fits_needs_none():
    release = official("editar-512").config
    for head in (768, 0):  # with and without the one for the teacher's features
        editar = dataclasses.replace(release.editar, distill_width=head)
        found = combine([part("editar", editar), part("vq", VQ), part("t5", T5)])
        assert found.origin == "editar-512" and found.config.editar == editar
        assert found.config.token_sample == release.token_sample


def test_heads_come_from_the_release():
    shown = dataclasses.replace(llamagen("3b", prefix="class"), heads=25)
    parts = [part("editar", shown, "c2i_3B_384.pt"), part("vq", VQ)]
    assert combine(parts).config == official("llamagen-c2i-3b-384").config


def test_sizes_of_no_release_get_defaults():
    sizes = dataclasses.replace(PRESETS["2b"].varedit, depth=12)
    found = combine([part("varedit", sizes), part("bsq", BSQConfig()), part("t5", T5)])
    assert found.config.varedit == sizes and "defaults" in found.origin


@pytest.mark.parametrize("kind, config", [("vit", ViTConfig()), ("vq", VQ), ("t5", T5)])
def test_one_network_alone(kind, config):
    found = combine([part(kind, config)])
    assert found.config.model_type == kind and getattr(found.config, kind) == config


@pytest.mark.parametrize(
    "parts, settings, message",
    [
        (("varedit", "t5"), "", "also needs a bsq: --src=infinity-vae-d32"),
        (("varedit",), "", "also needs a bsq: .* and a t5: --src=flan-t5-xl"),
        (("varedit", "bsq", "t5", "vit"), "", "a varedit model has no vit"),
        (("varedit", "bsq", "t5"), "editar-512", "it is of type editar, expected varedit"),
        (("varedit", "bsq", "t5"), "varedit-8b-512", "depth=40, but 32 in the file, width=3584"),
        (("bsq", "t5"), "", "bsq, t5 make no model"),
        (("bsq", "bsq"), "", "both hold bsq"),
        (("t5",), "flan-t5-xl", "a t5 alone has no such settings"),
    ],
)
def test_parts_that_make_no_model(parts, settings, message):
    configs = {"varedit": PRESETS["2b"].varedit, "bsq": BSQConfig(), "t5": T5, "vit": ViTConfig()}
    with pytest.raises(ConfigError, match=message) as error:
        combine([part(kind, configs[kind], "2B-512.pth") for kind in parts], settings)
    assert "\n" not in str(error.value)


def test_the_tokenizer_of_another_size():
    parts = of_release("varedit-8b-512", "8B-512.pth")
    parts[1] = part("bsq", BSQConfig())
    with pytest.raises(ConfigError, match="varedit.bits=14 but the tokenizer has bsq.bits=32"):
        combine(parts)
