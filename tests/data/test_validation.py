import collections
import dataclasses
import json
from fractions import Fraction

import jax
import numpy as np
import pytest
from fabricate_store import make_record, picture, write_store
from PIL import Image

from jaxedit.config import ConfigError, DataConfig
from jaxedit.data.loader import make_loader
from jaxedit.data.mixture import components
from jaxedit.data.sources import ToySource
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.validation import ValidationRows, interleave

ROWS = 60


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load("toy-tokenizer")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Write a list of pairs; the brightness of a source is three times the number of its row."""
    directory = tmp_path_factory.mktemp("pairs")
    lines = []
    for i in range(ROWS):
        Image.new("RGB", (16, 16), (3 * i, 0, 0)).save(directory / f"{i}.png")
        Image.new("RGB", (16, 16), (3 * i, 255, 0)).save(directory / f"{i}b.png")
        row = {"source": f"{i}.png", "target": f"{i}b.png", "instruction": f"make it green {i}"}
        lines.append(json.dumps(row))
    (directory / "pairs.jsonl").write_text("\n".join(lines))
    return directory / "pairs.jsonl"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stores")
    for n, name in enumerate(("a", "b")):
        rows = [make_record(i, name, source=picture((n, 9, i))) for i in range(30)]
        write_store(directory / name, rows)
    return directory


def settings(source, **changes):
    values = {"image_size": 16, "batch_size": 8, "text_tokens": 16, "prefetch": 1} | changes
    return DataConfig(source=str(source), mixture=values.pop("mixture", (("edit", 1.0),)), **values)


def numbers(batch):
    """Return the numbers of the pairs of a batch, without padding."""
    pixels = np.asarray(batch.target)[:, 8, 8, 0].astype(int)
    return [round(x / 3) for x in (pixels if batch.valid is None else pixels[batch.valid])]


def held_out(config, tokenizer, batches=100):
    rows = ValidationRows(config, tokenizer, batches)
    return [n for batch in rows.batches(range(8)) for n in numbers(batch)]


def test_held_out_rows_never_occur_in_training(pairs, tokenizer):
    config = settings(pairs, validation="0.2", mixture=(("edit", 0.5), ("recon", 0.5)))
    held = set(held_out(config, tokenizer))
    loader = make_loader(config, tokenizer, start_step=0)
    trained = {n for _ in range(ROWS) for n in numbers(next(loader))}
    assert 5 <= len(held) <= 20
    assert held | trained == set(range(ROWS)) and not held & trained


def test_a_damaged_row_is_not_replaced_by_a_held_out_one(pairs, tokenizer):
    config = settings(pairs, validation="0.2")
    ((part, _),) = components(config)
    held = set(held_out(config, tokenizer))
    before = next(n for n in range(ROWS) if n not in held and n + 1 in held)
    names = [texts["source"] for _, texts in part._rows]
    (pairs.parent / "broken").write_text("no picture")
    part._rows[names.index(f"{before}.png")][1]["source"] = "broken"
    part._list.bad = type(part._list.bad)("list", 1000)
    found = round(part[names.index(f"{before}.png")].target[8, 8, 0] / 3)
    assert found not in held


def test_every_row_counts_once_and_the_last_batch_is_filled_up(pairs, tokenizer):
    config = settings(pairs, validation="0.2")
    rows = ValidationRows(config, tokenizer, 100)
    batches = list(rows.batches(range(8)))
    assert len(batches) == -(-len(rows) // 8) and len(rows) % 8
    assert all(len(batch.source) == 8 for batch in batches)
    counts = collections.Counter(n for batch in batches for n in numbers(batch))
    assert len(counts) == len(rows) and set(counts.values()) == {1}
    assert len(ValidationRows(config, tokenizer, 1)) == 8


def test_hosts_share_the_same_batches(pairs, tokenizer):
    rows = ValidationRows(settings(pairs, validation="0.2"), tokenizer, 100)
    whole = list(rows.batches(range(8)))
    parts = zip(rows.batches(range(0, 3)), rows.batches(range(3, 8)), strict=True)
    for batch, (first, second) in zip(whole, parts, strict=True):
        joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second)
        jax.tree.map(np.testing.assert_array_equal, batch, joined)


def test_a_row_is_held_out_of_every_entry_that_shows_it(stores):
    mixture = (("a", 0.25), ("a:recon", 0.25), ("b+a:add_remove", 0.5))
    config = settings(stores, mixture=mixture, validation="0.3")
    keys = [set(part.keys().tolist()) for part, _ in components(config)]
    everything = [set(p.keys().tolist()) for p, _ in components(settings(stores, mixture=mixture))]
    assert keys[0] == keys[1] == keys[2] & everything[0]
    assert 0 < len(keys[2]) < len(everything[2]) == 60


def test_both_ways_of_a_pair_stay_together(stores):
    config = settings(stores / "a", mixture=(("add_remove", 1.0),), validation="0.3")
    ((part, _),) = components(config)
    assert set(collections.Counter(part.keys().tolist()).values()) == {2}


def test_other_sources(stores, pairs, tokenizer):
    toy = settings("toy", image_size=64)
    rows = ValidationRows(toy, tokenizer, 2)
    assert len(rows) == 16 and rows.name == "the toybox's test split"
    expected = ToySource(toy.seed, toy.level, "test")[5]
    assert rows[5].instruction == expected.instruction
    np.testing.assert_array_equal(rows[5].target, expected.target)

    # a source of the same kind has the same mixture; of other kinds all rows are used
    config = settings(stores, mixture=(("a", 0.5), ("b", 0.5)), validation=str(stores / "b"))
    assert len(ValidationRows(config, tokenizer, 100)) == 30
    config = dataclasses.replace(config, validation=str(pairs))
    assert len(ValidationRows(config, tokenizer, 100)) == ROWS
    config = dataclasses.replace(config, validation=str(stores))
    assert len(ValidationRows(config, tokenizer, 100)) == 60
    config = dataclasses.replace(config, validation_mixture=(("b", 1.0),))
    assert len(ValidationRows(config, tokenizer, 100)) == 30


def test_examples_begin_anew(pairs, tokenizer):
    rows = ValidationRows(settings(pairs, validation="0.1"), tokenizer, 100)
    batch, instructions = rows.examples(len(rows) + 1)
    np.testing.assert_array_equal(batch.target[0], batch.target[-1])
    assert instructions == [row.instruction for row in (*rows, rows[0])]


def test_interleave_by_hand():
    shares = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    order = interleave(shares, [9, 9, 1], 9)
    assert order == [
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (0, 2),
        (1, 1),
    ]  # the third part has no further row
    assert interleave([Fraction(1)], [9], 3) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": "nowhere"}, "data.validation='nowhere': no such directory"),
        ({"validation": "1e-9"}, "holds out no row of .*: expected a larger share"),
        ({"validation": "gs://b/val"}, "data.validation"),
        (
            {"source": "toy", "image_size": 64, "split": "test"},
            "data.split='test': expected 'train', as the validation is on the test split",
        ),
        ({"validation": "toy"}, "data.image_size=16: level 0 has pictures of 64"),
    ],
)
def test_bad_settings(pairs, tokenizer, changes, message):
    with pytest.raises(ConfigError, match=message):
        ValidationRows(settings(changes.pop("source", pairs), **changes), tokenizer, 1)


def test_a_share_that_leaves_nothing(pairs):
    with pytest.raises(ConfigError, match="leaves no row for training of .*: expected a smaller"):
        components(settings(pairs, validation="0.999999"))
