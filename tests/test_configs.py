import pathlib

import jax
import pytest

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import (
    EDITAR_PRESETS,
    OFFICIAL,
    ConfigError,
    TrainConfig,
    from_dict,
    official,
    settings_of,
    to_dict,
)
from jaxedit.configs import (
    editar,
    eval_editar,
    eval_erec,
    eval_varedit,
    finetune,
    tokenizer_bsq,
    tokenizer_vq,
    var_finest,
    var_full,
    var_sar,
)
from jaxedit.data import loader
from jaxedit.data.mixture import toy_entries
from jaxedit.data.row_variants import VARIANTS
from jaxedit.datasets.readers import DATASETS
from jaxedit.evaluate.benchmarks.registry import BENCHMARKS
from jaxedit.models import editar as editar_model
from jaxedit.models.varedit import init_params
from jaxedit.train.objectives import editar as editar_training
from jaxedit.train.objectives import varedit

EDITORS = {"sar": var_sar, "finest": var_finest, "full": var_full}
PRESETS = ("tiny", "tiny-level3", "2b-256", "2b", "8b")
# Parameters of the published transformers.
COUNTS = {"2b-256": 2_204_564_032, "2b": 2_204_564_032, "8b": 8_375_791_824}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("conditioning", EDITORS)
def test_editor_configs(conditioning, preset):
    config = EDITORS[conditioning].get_config(preset)
    config.validate()
    loader.validate(config.data)
    varedit.check(config)
    assert config.model.varedit.conditioning == conditioning
    assert from_dict(TrainConfig, to_dict(config)) == config
    if preset in COUNTS:
        model = config.model.varedit
        params = jax.eval_shape(lambda: init_params(model, rng.key_for(0, "init")))
        assert tree.count(params) == COUNTS[preset]


def test_papers_runs():
    runs = {
        "2b-256": (8_000, 256, 1536, 6e-5),
        "2b": (7_000, 512, 960, 1.875e-5),
        "8b": (60_000, 512, 1536, 6e-5),
    }
    for preset, expected in runs.items():
        c = var_sar.get_config(preset)
        found = (c.steps, c.data.image_size, c.data.batch_size, c.optim.learning_rate)
        assert found == expected
        assert (c.optim.beta1, c.optim.beta2, c.optim.weight_decay) == (0.9, 0.97, 0.005)


@pytest.mark.parametrize("preset", ["tiny", "tiny-level3", "d32", "d14"])
def test_tokenizer_configs(preset):
    config = tokenizer_bsq.get_config(preset)
    config.validate()
    loader.validate(config.data)
    h, w = config.bsq.scales[-1]
    assert h == w == config.data.image_size // config.model.bsq.stride
    assert from_dict(TrainConfig, to_dict(config)) == config


@pytest.mark.parametrize("preset", ["tiny", "vq16", "vq8"])
def test_code_tokenizer_configs(preset):
    config = tokenizer_vq.get_config(preset)
    config.validate()
    loader.validate(config.data)
    if config.data.source == "toy":
        assert config.model.vq == EDITAR_PRESETS["tiny"].vq is not config.model.vq
    assert config.data.image_size % config.model.vq.stride == 0
    assert from_dict(TrainConfig, to_dict(config)) == config


@pytest.mark.parametrize("preset", ["tiny", "xl"])
def test_editar_configs(preset):
    config = editar.get_config(preset)
    config.validate()
    loader.validate(config.data)
    editar_training.check(config, None)
    assert from_dict(TrainConfig, to_dict(config)) == config
    assert config.model == EDITAR_PRESETS[preset] and config.model is not EDITAR_PRESETS[preset]
    assert (config.optim.beta1, config.optim.beta2, config.optim.weight_decay) == (0.9, 0.95, 0.05)


def test_models_of_level_3():
    """Each fits into 12 MB at 16 bits, and sees the codes of its tokenizer's run."""
    for config, tokenizer in (
        (var_sar.get_config("tiny-level3"), tokenizer_bsq.get_config("tiny-level3")),
        (editar.get_config("tiny-level3"), tokenizer_vq.get_config("tiny-level3")),
    ):
        config.validate()
        loader.validate(config.data)
        loader.validate(tokenizer.data)
        assert config.model.bsq == tokenizer.model.bsq and config.model.vq == tokenizer.model.vq
        assert {level for _, level in toy_entries(config.data)} == {0, 3}
        assert 2 * tree.count(abstract_params(config.model)) < 12e6
        assert from_dict(TrainConfig, to_dict(config)) == config


def test_editars_run():
    c = editar.get_config("xl")
    found = (c.steps, c.data.image_size, c.data.batch_size, c.optim.learning_rate, c.dtype)
    assert found == (40_000, 512, 64, 1e-4, "bfloat16")
    shares = dict(c.data.mixture)
    maps = ("multigen-depth", "multigen-depth:canny", "cocostuff")
    assert [shares[name] for name in maps] == [0.15] * 3
    assert (shares["pipe:add_remove"], shares["seed-unsplash"]) == (0.25, 0.3)
    assert (c.editar.drop, c.editar.distill_weight, c.ema_decay) == (0.05, 0.5, 0.0)
    assert (c.optim.clip_norm, c.optim.schedule, c.optim.warmup_steps) == (1.0, "constant", 0)
    model = c.model.editar
    assert (model.dropout, model.token_dropout) == (0.1, 0.1)
    params = jax.eval_shape(lambda: editar_model.init_params(model, rng.key_for(0, "init")))
    assert tree.count(params) == 781_611_008


@pytest.mark.parametrize("preset", ["tiny", "varedit", "varedit-256", "editar"])
def test_finetuning_configs(preset):
    config = finetune.get_config(preset)
    config.validate()
    loader.validate(config.data)
    is_editar = config.model.model_type == "editar"
    editar_training.check(config, None) if is_editar else varedit.check(config)
    assert from_dict(TrainConfig, to_dict(config)) == config
    assert config.lora.rank and config.init_from and not config.data.text_tokenizer
    if preset != "tiny":
        assert config.export_dtype == config.dtype == "bfloat16" and config.remat == "all"


@pytest.mark.parametrize("config", [editar.get_config("xl"), var_sar.get_config("8b")])
def test_papers_mixtures_name_published_data_and_views(config):
    for entry, _ in config.data.mixture:
        stores, _, view = entry.partition(":")
        assert set(stores.split("+")) <= set(DATASETS) and (view or "edit") in VARIANTS


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("log_every=0", "a positive whole number"),
        ("checkpoint_every=0", "a positive whole number"),
        ("keep_checkpoints=-1", "a positive whole number"),
        ("sample_rows=0", "a positive whole number"),
        ("sample_every=-5", "a whole number of 0 or more"),
        ("optim.clip_norm=0", "a positive number"),
        ("optim.learning_rate=inf", "a positive number"),
        ("optim.warmup_steps=-3", "a whole number of 0 or more"),
        ("optim.beta2=1", r"a number in \[0, 1\)"),
    ],
)
def test_numbers_that_cannot_be(setting, expected):
    config = var_sar.get_config("tiny")
    path, value = setting.split("=")
    *group, name = path.split(".")
    setattr(getattr(config, *group) if group else config, name, float(value))
    with pytest.raises(ConfigError, match=f"{path}={float(value)}: expected {expected}"):
        config.validate()


def test_presets_do_not_share_settings():
    var_sar.get_config("tiny").model.varedit.depth = 1
    assert var_sar.get_config("tiny").model.varedit.depth != 1
    assert var_full.get_config("2b").model.varedit.rope_mode == "grid"
    assert var_sar.get_config("2b").model.varedit.rope_mode == "release"


def test_unknown_preset():
    with pytest.raises(ConfigError, match="unknown preset '3b': expected one of tiny, tiny-level3"):
        var_sar.get_config("3b")


def test_every_config_says_how_to_run_it():
    for file in pathlib.Path(var_sar.__file__).parent.glob("[a-z]*.py"):
        command = "evaluate" if file.name.startswith("eval_") else "train"
        assert f"python -m jaxedit.{command} --config=configs/{file.name}" in file.read_text()


@pytest.mark.parametrize("module", [eval_editar, eval_erec, eval_varedit])
def test_evaluation_configs(module):
    """The models have the methods and options, and the benchmarks are known."""
    for preset in module.RUNS:
        config = module.get_config(preset)
        assert config.pop("benchmark") in BENCHMARKS
        model, method = config.pop("model"), config.pop("method")
        judge = config.pop("judge", ""), config.pop("judge_model", "")
        assert judge in [("", ""), ("openai", "gpt-4o")]
        own = {"varedit": "varedit-2b-512", "editar": "editar-512"}  # as our own weights
        weights = official(model if model in OFFICIAL else own[method])
        settings_of(weights.config, method, config)
    assert module.get_config() in module.RUNS.values()
    with pytest.raises(ConfigError, match="unknown preset 'x'"):
        module.get_config("x")


def test_evaluation_configs_of_the_papers_rows():
    assert len(eval_erec.RUNS) == 2 + 2 * 10 + 7 + 16
    assert eval_erec.get_config("tau_js-0.6")["tau_js"] == 0.6
    assert eval_erec.get_config("erec-512") == eval_erec.get_config("tau_low-3")
    assert eval_varedit.get_config("2b-emu")["model"] == "varedit-2b-512"
    assert eval_editar.get_config("seg")["benchmark"] == "coco-stuff"
