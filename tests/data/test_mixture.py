import dataclasses
import itertools
import operator
from fractions import Fraction

import jax
import numpy as np
import pytest
from fabricate_store import make_record, picture, write_store

from jaxedit.config import ConfigError, DataConfig
from jaxedit.data import drop_list
from jaxedit.data.loader import example_rows, make_loader, validate
from jaxedit.data.mixture import components
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.sharding import distributed

EDITAR = (
    ("multigen-depth", 0.15),
    ("multigen-depth:canny", 0.15),
    ("cocostuff", 0.15),
    ("pipe:add_remove", 0.25),
    ("seed", 0.30),
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Write four small stores, whose sources have a colour for each store."""
    directory = tmp_path_factory.mktemp("stores")
    kinds = {"multigen-depth": "depth", "cocostuff": "segmentation", "pipe": "edit", "seed": "edit"}
    for number, (name, task) in enumerate(kinds.items()):
        rows = [
            make_record(10 * number + i, name, task=task, source=picture((number, 9, i)))
            for i in range(5)
        ]
        write_store(directory / name, rows)
    (directory / "notes").mkdir()
    return directory


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load("toy-tokenizer")


def settings(stores, mixture=EDITAR, **changes):
    return DataConfig(
        source=str(stores), mixture=mixture, image_size=16, batch_size=20, prefetch=1, **changes
    )


def take(config, tokenizer, n, **kwargs):
    loader = make_loader(config, tokenizer, **kwargs)
    return [next(loader) for _ in range(n)]


def test_parts_and_shares(stores):
    parts = components(settings(stores))
    assert [share for _, share in parts] == [Fraction(share, 20) for share in (3, 3, 3, 5, 6)]
    assert [len(part) for part, _ in parts] == [5, 5, 5, 10, 5]
    tasks = ["depth", "canny", "segmentation", "edit", "edit"]
    assert [part[0].task for part, _ in parts] == tasks


def test_every_batch_of_a_period_has_exact_shares(stores, tokenizer):
    (batch,) = take(settings(stores), tokenizer, 1, start_step=4)
    kinds = [tuple(row) for row in batch.source[:, 0, 0, :2]]
    assert kinds.count((0, 9)) == 3 and kinds.count((1, 9)) == 3 and kinds.count((3, 9)) == 6
    assert batch.mask.shape == (20, 16, 16) and batch.mask.all()


@pytest.mark.parametrize("order", ["stratified", "iid"])
def test_hosts_share_one_batch_that_any_step_gives(stores, tokenizer, order):
    config = settings(stores, order=order)
    whole = take(config, tokenizer, 3, start_step=0)[2]
    for cuts in ((0, 10, 20), (0, 3, 20)):
        for begin, end in itertools.pairwise(cuts):
            (mine,) = take(config, tokenizer, 1, start_step=2, rows=range(begin, end))
            part = jax.tree.map(operator.itemgetter(slice(begin, end)), whole)
            jax.tree.map(np.testing.assert_array_equal, mine, part)


def test_hosts_with_other_stores_are_told(stores, tokenizer, monkeypatch):
    said = {}
    monkeypatch.setattr(distributed, "assert_same_on_all_hosts", said.update)
    make_loader(settings(stores), tokenizer, start_step=0)
    assert said["data pipe:add_remove"] == "10 rows, the last 'Remove a thing 24'"
    assert len(said) == 5


def test_stores_in_proportion_to_their_rows(stores, tokenizer):
    write_store(stores / "large", [make_record(200 + i, "large") for i in range(15)])
    config = settings(stores, (("pipe+large", 1.0),))
    ((part, share),) = components(config)
    assert (len(part), share) == (20, 1)
    (batch,) = take(config, tokenizer, 1, start_step=0)
    assert (batch.source[:, 0, 0, 0] >= 200).sum() == 15


def test_one_store_by_its_variants(stores, tokenizer):
    config = settings(stores / "pipe", (("edit", 0.95), ("recon", 0.05)))
    (batch,) = take(config, tokenizer, 1, start_step=0)
    assert (batch.source == batch.target).all((1, 2, 3)).sum() == 1
    rows = example_rows(config, 4)
    assert [row.task for row in rows] == ["edit", "recon", "edit", "recon"]


def test_dropped_rows_are_not_drawn(stores, tokenizer, tmp_path):
    store = write_store(tmp_path / "mine", [make_record(i) for i in range(5)])
    drop_list.write(store, "a", [drop_list.Dropped(2, "pipe/train/2", "blurred")])
    (batch,) = take(settings(store, (("edit", 1.0),)), tokenizer, 1, start_step=0)
    assert np.unique(batch.source[:, 0, 0, 0]).tolist() == [0, 1, 3, 4]


def test_a_damaged_row_ends_the_iterator_with_its_name(tokenizer, tmp_path):
    records = [make_record(0), make_record(1, source=picture(1)[:-30]), make_record(2)]
    store = write_store(tmp_path / "mine", records, 1)
    loader = make_loader(settings(store, (("edit", 1.0),)), tokenizer, start_step=0)
    with pytest.raises(OSError, match="mine: row 1 is damaged: ") as error:
        next(loader)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (
            (("pip", 1.0),),
            "'pip': no store 'pip' in .*: expected one of cocostuff, .*multigen-depth, pipe",
        ),
        ((("pipe+notes", 1.0),), "no store 'notes'"),
        ((("../pipe", 1.0),), "no store"),
        ((("pipe:swap", 1.0),), "'pipe:swap': variant 'swap': expected one of edit, add, remove"),
        ((("pipe:depth", 1.0),), "pipe: row 0 is of the task edit: the variant depth needs depth"),
        ((("pipe", 0.5),), "expected positive shares that add up to 1"),
        ((("pipe", 0.5), ("pipe", 0.5)), "expected different entries"),
    ],
)
def test_mixtures_that_cannot_work(stores, tokenizer, mixture, message):
    with pytest.raises(ConfigError, match=message):
        make_loader(settings(stores, mixture), tokenizer, start_step=0)


def test_sources_that_cannot_work(stores, tokenizer, tmp_path):
    expected = "a .jsonl file of pairs, a store or a directory of stores"
    with pytest.raises(ConfigError, match=f"none': no such directory: expected 'toy', {expected}"):
        components(settings(stores / "none"))
    with pytest.raises(ConfigError, match="data.source=gs://b/stores: expected a local path"):
        components(dataclasses.replace(settings(stores), source="gs://b/stores"))
    with pytest.raises(ConfigError, match=f"there is no store: expected 'toy', {expected}"):
        components(settings(tmp_path))
    (tmp_path / "pipe" / "conversion").mkdir(parents=True)
    with pytest.raises(ConfigError, match="pipe: conversion did not finish"):
        components(settings(tmp_path, (("pipe", 1.0),)))


def test_settings_are_checked_without_the_stores():
    validate(settings("no/such/directory"))
