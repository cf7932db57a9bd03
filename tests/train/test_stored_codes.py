"""Stored codes from the command to the loss, with a small random tokenizer."""

import copy
import dataclasses
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fabricate_store import make_record, picture, write_store

from jaxedit import rng
from jaxedit.checkpoints.pretrained import abstract_params, save_pretrained
from jaxedit.config import (
    EDITAR_PRESETS,
    ConfigError,
    DataConfig,
    EditARTrainConfig,
    PretrainedConfig,
    TrainConfig,
)
from jaxedit.data.store import Store
from jaxedit.data.stored_codes import folders_in
from jaxedit.datasets.encode.__main__ import main
from jaxedit.sharding import rules
from jaxedit.train import stored_codes
from jaxedit.train.metrics import flops_per_pair
from jaxedit.train.objectives import registry
from jaxedit.train.stored_codes import checked_rows

KEY = rng.key_for(0, "loss")


def small_model():
    """8 px pictures of 4 x 4 codes."""
    model = copy.deepcopy(EDITAR_PRESETS["tiny"])
    sizes = {"layers": 1, "width": 16, "heads": 2, "mlp_hidden": 32, "codes": 8, "grid": 4}
    model.editar = dataclasses.replace(model.editar, **sizes, text_tokens=6, distill_width=0)
    model.vq = dataclasses.replace(
        model.vq, codes=8, code_width=4, base_channels=32, channel_mult=(1, 1), latent_width=32
    )
    model.vq.res_blocks = 1
    model.t5.layers, model.token_sample.top_k = 1, 8
    return model


def write_tokenizer(directory, seed):
    config = PretrainedConfig(model_type="vq", vq=small_model().vq)
    random = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: 0.3 * random.standard_normal(leaf.shape, np.float32), abstract_params(config)
    )
    return str(save_pretrained(directory, config, params))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("vq") / "weights", 0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory, weights):
    """Edits and maps, of many colours, with codes."""
    directory, random = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)

    def rows(dataset, task):
        for i in range(20):
            source, target = (picture(tuple(map(int, c))) for c in random.integers(0, 256, (2, 3)))
            yield make_record(i, dataset, task=task, source=source, target=target)

    for dataset, task in (("edits", "edit"), ("maps", "depth")):
        write_store(directory / dataset, list(rows(dataset, task)))
    encode(directory, weights)
    return directory


def encode(directory, weights):
    names = [f"--store={directory / name}" for name in ("edits", "maps")]
    code = main(
        [*names, f"--tokenizer={weights}", "--image_size=8", "--threads=1", "--batch_size=4"]
    )
    assert code == 0


def config_of(stores, weights, **changes):
    config = TrainConfig(
        model=small_model(),
        editar=EditARTrainConfig(tokenizer=weights, distill_weight=0.0),
        data=DataConfig(
            source=str(stores),
            image_size=8,
            text_tokens=6,
            batch_size=16,
            mixture=(("edits:add_remove", 0.5), ("maps", 0.25), ("maps:canny", 0.25)),
            **changes,
        ),
        dtype="float32",
        remat="none",
        sample_rows=1,
    )
    config.validate()
    return config


@pytest.fixture(scope="module")
def coded(stores, weights):
    """An objective, and a batch of codes."""
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr(stored_codes.log, "info", lambda text, *values: said.append(text % values))
        objective, data = registry.build(config_of(stores, weights))
    (line,) = said
    assert line.startswith("stored codes: used instead of the image tokenizer; 20 of 40 rows are")
    return objective, next(data.batches_from(3, range(16)))


@pytest.fixture(scope="module")
def plain(stores, weights):
    """An objective, and the same batch of pictures."""
    objective, data = registry.build(config_of(stores, weights, stored_codes=False))
    return objective, next(data.batches_from(3, range(16)))


def test_stored_codes_are_the_codes_of_the_pictures(coded, plain):
    (objective, codes), (encoding_objective, pictures) = coded, plain
    assert codes.source is codes.target is codes.mask is None and pictures.codes is None
    vq = rules.place(encoding_objective.frozen()["vq"], None)
    expected = jax.jit(encoding_objective.codes)(vq, pictures)
    for found, own in zip(objective.codes({}, jax.device_put(codes)), expected, strict=True):
        np.testing.assert_array_equal(found, own)
    assert len(np.unique(expected)) > 4
    np.testing.assert_array_equal(codes.text_ids, pictures.text_ids)
    assert flops_per_pair(objective) < flops_per_pair(encoding_objective)


@pytest.mark.slow
def test_the_loss_is_the_same(coded, plain):
    objective, frozen = coded[0], rules.place(coded[0].frozen(), None)
    params, loss = jax.jit(objective.init)(KEY), jax.jit(objective.loss)
    values = [loss(params, frozen, batch, KEY, jnp.int32(0))[0] for _, batch in (coded, plain)]
    assert values[0] == values[1] > 1


def test_one_line_says_what_is_used(stores, weights, caplog):
    with caplog.at_level(logging.INFO):
        registry.build(config_of(stores, weights, stored_codes=False))
    assert "stored codes: not used, as data.stored_codes=False" in caplog.text


def test_other_weights_and_sizes_are_not_used(stores, weights, tmp_path, caplog):
    cases = {"tokenizer=": config_of(stores, write_tokenizer(tmp_path / "other", 1))}
    cases["image_size=8, not 16"] = config_of(stores, weights)
    cases["image_size=8, not 16"].data.image_size = 16
    cases["image_size=8, not 16"].model.editar.grid = 8
    for told, config in cases.items():
        caplog.clear()
        with caplog.at_level(logging.INFO):
            objective, _ = registry.build(config)
        assert "stored codes: not used" in caplog.text and told in caplog.text
        assert "edits:add_remove: " in caplog.text and not objective.has_stored_codes


def test_a_part_without_codes_is_named_with_the_command(stores, weights, caplog):
    write_store(stores / "more", [make_record(i, "more") for i in range(3)])
    config = config_of(stores, weights)
    config.data.mixture = (("edits", 0.5), ("more", 0.5))
    with caplog.at_level(logging.INFO):
        registry.build(config)
    assert f"more: {stores / 'more'} has none" in caplog.text
    config.data.mixture = (("more", 1.0),)
    with caplog.at_level(logging.INFO):
        registry.build(config)
    assert f"--tokenizer={weights} --image_size=8 --fit=crop --crop=editar" in caplog.text


def test_damaged_codes_end_the_start(stores, weights, tmp_path):
    shutil.copytree(stores, tmp_path / "copy")  # codes stay with their store
    (folder,) = folders_in(tmp_path / "copy" / "edits")
    codes = np.load(folder / "00000.npy")
    codes[2] = (codes[2] + 4) % 8
    np.save(folder / "00000.npy", codes)
    with pytest.raises(ConfigError, match=r"edits/codes-\w+: row 2: \d+ of 32 codes are not"):
        registry.build(config_of(tmp_path / "copy", weights))


def test_one_row_in_a_thousand_is_checked():
    assert list(checked_rows(5000, 7)) == [7, 632, 1257, 1882, 2507, 3132, 3757, 4382]
    assert list(checked_rows(12_000, 3001)) == [1 + 1000 * i for i in range(12)]
    assert list(checked_rows(3, 0)) == [0, 1, 2]


def test_bits_cannot_be_stored(stores, capsys):
    arguments = [f"--store={stores / 'edits'}", "--tokenizer=toy-varedit"]
    assert main(arguments) == 2
    assert "VAREdit's bits are drawn anew in every step" in capsys.readouterr().err
    assert main([*arguments[:1], "--tokenizer=toy-editar", "--image_size=30"]) == 2
    assert "--image_size=30: expected a multiple" in capsys.readouterr().err
    assert len(folders_in(Store(stores / "edits").directory)) == 1
