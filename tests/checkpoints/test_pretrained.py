import json
import math
import resource
import shutil
import tracemalloc

import jax
import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file, save_file

from jaxedit import Editor, tree
from jaxedit.checkpoints import pretrained, shards
from jaxedit.checkpoints.model_card import how_to_use
from jaxedit.checkpoints.pretrained import (
    abstract_params,
    load_pretrained,
    open_params,
    save_pretrained,
    write_pretrained,
)
from jaxedit.config import (
    OFFICIAL,
    PRESETS,
    CLIPConfig,
    ConfigError,
    PretrainedConfig,
    T5Config,
    TowerConfig,
    WeightSource,
    to_dict,
)


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def edit_weights(model, change):
    arrays = load_file(model / "model.safetensors")
    change(arrays)
    save_file(arrays, model / "model.safetensors")


def test_what_was_saved_is_loaded(tiny_model, tmp_path):
    config, params, directory = load_pretrained(tiny_model)
    assert directory == tiny_model and set(params) == {"bsq", "transformer", "t5"}
    again = save_pretrained(tmp_path / "again", config, params, tiny_model)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (tiny_model / name).read_bytes()
    assert "tokenizer_config.json" in {p.name for p in again.iterdir()}


def test_networks_can_be_read_alone(tiny_model):
    _, params, _ = load_pretrained(tiny_model, ["bsq"])
    assert set(params) == {"bsq"}


def test_float16_is_half_as_large(tiny_model, tmp_path):
    config, params, _ = load_pretrained(tiny_model)
    small = save_pretrained(tmp_path / "small", config, params, tiny_model, dtype="float16")
    sizes = [(d / "model.safetensors").stat().st_size for d in (small, tiny_model)]
    assert 0.45 < sizes[0] / sizes[1] < 0.55


def test_published_sizes():
    shapes = abstract_params(PRESETS["2b"])
    counts = {name: tree.count(shapes[name]) for name in shapes}
    assert counts == {"bsq": 110_118_051, "transformer": 2_204_564_032, "t5": 1_223_527_424}
    assert tree.count(abstract_params(PRESETS["8b"])["transformer"]) == 8_375_791_824


def test_every_difference_is_listed(model):
    def change(arrays):
        arrays["bsq/new"] = arrays.pop("t5/norm/scale")
        arrays["t5/embed"] = np.zeros((2, 3), np.float32)

    edit_weights(model, change)
    with pytest.raises(ConfigError) as error:
        load_pretrained(model)
    message = str(error.value)
    assert "missing t5/norm/scale (64,)" in message and "unexpected bsq/new (64,)" in message
    assert "t5/embed is (2, 3), expected (256, 64)" in message and "\n" not in message


def test_values_that_are_not_finite_are_named(model):
    edit_weights(model, lambda arrays: arrays["t5/norm/scale"].put(3, np.nan))
    with pytest.raises(ValueError, match="not finite in t5/norm/scale"):
        load_pretrained(model)


def test_damaged_weights_are_named(model):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_pretrained(model)
    weights.write_text("hello")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_pretrained(model)
    weights.unlink()
    with pytest.raises(OSError, match="no such file"):
        load_pretrained(model)


def test_integers_are_refused(model):
    edit_weights(model, lambda arrays: arrays.update(x=np.zeros(2, np.int32)))
    with pytest.raises(ValueError, match="expected F32, BF16, F16 in x"):
        load_pretrained(model)


@pytest.mark.parametrize(
    "change, error",
    [
        (lambda c: c.pop("t5"), "varedit config lacks 't5'"),
        (lambda c: c.update(frob=1), "unknown keys ['frob']"),
        (lambda c: c["varedit"].update(width=30), "varedit.width=30"),
        (lambda c: c["varedit"].update(width="x"), "config.varedit.width='x'"),
        (lambda c: c.update(model_type="other"), "model_type='other'"),
        (lambda c: c.pop("jaxedit"), 'a key "jaxedit"'),
    ],
)
def test_configs_that_cannot_work(model, change, error):
    settings = json.loads((model / "config.json").read_text())
    change(settings)
    (model / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError) as raised:
        load_pretrained(model)
    assert error in str(raised.value) and "config.json" in str(raised.value)


def test_config_that_is_not_json(model):
    (model / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_pretrained(model)


def test_what_is_no_model_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="'toy-cat': expected a bundled name"):
        load_pretrained("toy-cat")
    with pytest.raises(FileNotFoundError, match=r"expected a directory with config\.json"):
        load_pretrained(tmp_path)


def test_a_failed_save_keeps_the_earlier_model(model, monkeypatch):
    config, params, _ = load_pretrained(model)
    before = {p.name: p.read_bytes() for p in model.iterdir()}
    monkeypatch.setattr(pretrained, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_pretrained(model, config, params, "toy-tokenizer")
    assert {p.name: p.read_bytes() for p in model.iterdir()} == before
    assert [p.name for p in model.parent.iterdir()] == ["model"]


def test_nothing_else_is_ever_replaced(tiny_model, tmp_path):
    config, params, _ = load_pretrained(tiny_model)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="not a pretrained directory"):
        save_pretrained(tmp_path, config, params, "toy-tokenizer")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_wrong_parts_are_not_saved(tiny_model, tmp_path):
    config, params, _ = load_pretrained(tiny_model)
    with pytest.raises(ConfigError, match="missing t5/"):
        save_pretrained(tmp_path / "a", config, {**params, "t5": {}}, "toy-tokenizer")
    with pytest.raises(ConfigError, match="needs its tokenizer"):
        save_pretrained(tmp_path / "a", config, params)
    with pytest.raises(ConfigError, match="dtype='int8'"):
        save_pretrained(tmp_path / "a", config, params, "toy-tokenizer", dtype="int8")
    broken = jax.tree.map(lambda x: x * np.inf, params)
    with pytest.raises(ValueError, match="not finite"):
        save_pretrained(tmp_path / "a", config, broken, "toy-tokenizer")
    assert not list(tmp_path.iterdir())


def test_an_image_tokenizer_alone(tiny_model, tmp_path):
    config, params, _ = load_pretrained(tiny_model)
    alone = type(config)(model_type="bsq", bsq=config.bsq)
    save_pretrained(tmp_path / "bsq", alone, {"bsq": params["bsq"]})
    loaded, weights, _ = load_pretrained(tmp_path / "bsq")
    assert to_dict(loaded) == to_dict(alone) and set(weights) == {"bsq"}
    with pytest.raises(ConfigError, match="a bsq model has no t5"):
        load_pretrained(tmp_path / "bsq", ["t5"])


def test_a_full_disk_is_one_line_and_changes_nothing(model):
    config, params, _ = load_pretrained(model)
    before = {p.name: p.read_bytes() for p in model.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match="model: not written: File too large") as error:
            save_pretrained(model, config, params, "toy-tokenizer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert {p.name: p.read_bytes() for p in model.iterdir()} == before
    assert [p.name for p in model.parent.iterdir()] == ["model"]


def test_shards_are_one_model(model, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2_000_000)
    config, params, _ = load_pretrained(model)
    save_pretrained(model, config, params, "toy-tokenizer")
    assert len(shards.files_of(model)) > 2 and not (model / "model.safetensors").exists()
    jax.tree.map(np.testing.assert_array_equal, load_pretrained(model)[1], params)
    assert len(Editor.from_pretrained(model).fingerprint) == 64


def test_no_more_than_a_layer_is_in_memory(tmp_path):
    config = PretrainedConfig(model_type="t5", t5=T5Config(layers=12, vocab_size=64, width=512))
    shapes = tree.flatten(abstract_params(config))
    arrays = {path: Layers(leaf.shape) for path, leaf in shapes.items()}
    tracemalloc.start()
    write_pretrained(tmp_path / "t5", config, arrays)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    layer = 4 * max(math.prod(leaf.shape[1:]) for leaf in shapes.values())
    assert largest < 4 * layer < sum(4 * leaf.size for leaf in shapes.values()) / 5
    assert open_params(tmp_path / "t5")[1]["t5"]["norm"]["scale"].dtype == "float16"


class Layers:
    """Ones that are made a layer at a time."""

    def __init__(self, shape):
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def chunks(self):
        for _ in range(self.shape[0]):
            yield np.ones(self.shape[1:], np.float32)


@pytest.mark.parametrize("network", ["t5", "clip"])
def test_text_encoders_alone_may_bring_their_tokenizer(network, tmp_path):
    tower = TowerConfig(layers=1, width=8, heads=2, mlp_hidden=8)
    clip = CLIPConfig(image=tower, text=tower, grid=2, vocab_size=256, projection_width=8)
    t5 = T5Config(vocab_size=256, width=8, head_width=4, mlp_hidden=8, layers=1, heads=2)
    config = PretrainedConfig(model_type=network, **{network: {"t5": t5, "clip": clip}[network]})
    params = jax.tree.map(lambda x: np.ones(x.shape, np.float32), abstract_params(config))
    assert params.keys() == {network}
    for tokenizer in (None, "toy-tokenizer"):
        save_pretrained(tmp_path / network, config, params, tokenizer)
        assert (tmp_path / network / "tokenizer.json").exists() == (tokenizer is not None)
        assert load_pretrained(tmp_path / network)[0] == config
    getattr(config, network).vocab_size = 2
    params = jax.tree.map(lambda x: np.ones(x.shape, np.float32), abstract_params(config))
    with pytest.raises(ConfigError, match=rf"{network}\.vocab_size=2"):
        save_pretrained(tmp_path / network, config, params, "toy-tokenizer")


def test_the_card_says_what_where_from_and_how(tiny_model, tmp_path):
    config, params, _ = load_pretrained(tiny_model)
    sources = [
        WeightSource("varedit", "HiDream-ai/VAREdit", "2B-512.pth", "mit"),
        WeightSource("t5", "google/flan-t5-xl", "", "apache-2.0"),
        WeightSource("bsq", "", "vae.pth", "see its home", "https://example.org"),
    ]
    arrays = tree.flatten(params)
    write_pretrained(tmp_path / "m", config, arrays, tiny_model, sources=sources)
    card = (tmp_path / "m" / "README.md").read_text()
    assert ModelCard(card).data.to_dict() == {
        "library_name": "jaxedit",
        "pipeline_tag": "image-to-image",
        "license": ["mit", "apache-2.0", "other"],
        "base_model": ["HiDream-ai/VAREdit", "google/flan-t5-xl"],
    }
    assert "- bsq: vae.pth from https://example.org (licence: see its home)" in card
    for network, dtype in (
        ("bsq", "float32"),
        ("t5", "float16"),
        ("transformer", "bfloat16, float32"),
    ):
        assert f"| {network} | {tree.count(params[network]):,} | {dtype} |" in card
    assert 'Editor.from_pretrained("m")' in card


@pytest.mark.parametrize(
    ("config", "use"),
    [
        (PretrainedConfig(model_type="bsq"), "--config.varedit.tokenizer=m"),
        (PretrainedConfig(model_type="clip"), 'load_pretrained("m")'),
        (OFFICIAL["infinity-2b"].config, "--config.init_from=m"),
        (OFFICIAL["llamagen-t2i-xl-256"].config, "--config.init_from=m"),
        (OFFICIAL["infinity-2b"].config, 'jaxedit.generate --model=m "a cat"'),
        (OFFICIAL["llamagen-c2i-b-256"].config, 'Generator.from_pretrained("m").generate(207)'),
        (OFFICIAL["varedit-2b-512"].config, "--model=m"),
    ],
)
def test_how_each_kind_is_used(config, use):
    assert use in how_to_use("m", config)


def test_a_models_directory_of_another_program_is_not_replaced(tiny_model, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    shutil.copy(tiny_model / "model.safetensors", tmp_path)
    config, params, _ = load_pretrained(tiny_model)
    with pytest.raises(FileExistsError, match="not a pretrained directory"):
        save_pretrained(tmp_path, config, params, tiny_model)
