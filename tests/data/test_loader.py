import dataclasses
import itertools
import json
import operator
import subprocess
import sys
from fractions import Fraction

import jax
import numpy as np
import pytest
from PIL import Image

from jaxedit.config import ConfigError, DataConfig, from_dict, to_dict
from jaxedit.data import toybox
from jaxedit.data.batch import EditBatch, collate
from jaxedit.data.loader import held_out_pairs, make_loader
from jaxedit.data.mixture import components
from jaxedit.data.mixture_order import Stratified
from jaxedit.data.sources import ToySource
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.transforms import Fit
from jaxedit.train.command import parse

CONFIG = DataConfig(batch_size=8, mixture=(("edit", 0.5), ("recon", 0.25), ("depth", 0.25)))


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load("toy-tokenizer")


def take(tokenizer, n, config=CONFIG, start_step=0, **kwargs):
    loader = make_loader(config, tokenizer, start_step=start_step, **kwargs)
    return [next(loader) for _ in range(n)]


def assert_equal(a: EditBatch, b: EditBatch):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_batch_shapes(tokenizer):
    (batch,) = take(tokenizer, 1)
    assert batch.source.shape == batch.target.shape == (8, 64, 64, 3)
    assert batch.source.dtype == batch.target.dtype == np.uint8
    assert batch.text_ids.shape == batch.text_mask.shape == (8, 32)
    assert batch.text_ids.dtype == np.int32 and batch.text_mask.dtype == bool
    assert batch.mask.shape == (8, 64, 64) and batch.mask.dtype == bool


def test_any_step_can_be_the_first(tokenizer):
    batches = take(tokenizer, 4)
    for step, batch in enumerate(take(tokenizer, 2, start_step=2)):
        assert_equal(batch, batches[2 + step])
    assert not np.array_equal(batches[0].target, batches[1].target)


def test_hosts_share_one_global_batch(tokenizer):
    whole = take(tokenizer, 2, start_step=1)
    for cuts in ((0, 4, 8), (0, 2, 4, 6, 8), (0, 1, 8)):  # of 2, 4 and 2 unequal hosts
        for begin, end in itertools.pairwise(cuts):
            mine = take(tokenizer, 2, start_step=1, rows=range(begin, end))
            for part, batch in zip(mine, whole, strict=True):
                assert_equal(part, jax.tree.map(operator.itemgetter(slice(begin, end)), batch))


def test_seed_and_threads(tokenizer):
    (batch,) = take(tokenizer, 1)
    (threads,) = take(tokenizer, 1, dataclasses.replace(CONFIG, threads=5, prefetch=1))
    (seed,) = take(tokenizer, 1, dataclasses.replace(CONFIG, seed=1))
    assert_equal(batch, threads)
    assert not np.array_equal(batch.target, seed.target)


def test_shares_of_rows(tokenizer):
    prompt = tokenizer(["reconstruct the image without changes"], 32)[0][0]
    ids = np.concatenate([b.text_ids for b in take(tokenizer, 5)])
    assert (ids == prompt).all(1).sum() == 10  # a quarter of 40
    assert [share for _, share in components(CONFIG)] == [Fraction(1, 2), *[Fraction(1, 4)] * 2]


def test_mixture_of_editar():
    tasks = {"depth": 0.15, "canny": 0.15, "segmentation": 0.15, "add_remove": 0.25, "other": 0.25}
    parts = components(DataConfig(mixture=(*tasks.items(), ("recon", 0.05))))
    order = Stratified(tuple(share for _, share in parts), 0)
    drawn = [parts[part][0][row].task for part, row in (order[i] for i in range(20))]
    counts = {task: drawn.count(task) for task in drawn}
    assert counts == {task: round(20 * share) for task, share in tasks.items()} | {"recon": 1}


def test_mixture_from_json_and_the_command_line():
    config = DataConfig(mixture=(("depth", 0.25), ("other", 0.75)))
    assert from_dict(DataConfig, json.loads(json.dumps(to_dict(config)))) == config
    flags = "--config.data.mixture=(('depth', 0.25), ('other', 0.75))"
    parsed = parse(["train", "--config=configs/var_sar.py:tiny", "--workdir=/tmp/run", flags])
    assert parsed.config.data.mixture == config.mixture


def test_toy_source_rows():
    source = ToySource(seed=3, level=0, split="test")
    row, pair = source[11], toybox.make(3, 11, 0, split="test")
    assert row.instruction == pair.instruction and row.edit_type == pair.edit_type
    np.testing.assert_array_equal(row.mask, pair.mask)
    assert len(source) > 10**9


def test_every_word_is_one_token(tokenizer):
    _, mask = tokenizer(toybox.VOCABULARY, 4)
    assert (mask.sum(1) == 2).all()  # the word and </s>


def test_held_out_pairs_take_the_types_in_turn():
    pairs = held_out_pairs(DataConfig(), 20)
    assert [p.edit_type for p in pairs] == [*range(10), *range(10)]
    trained = {str(toybox.make(0, i, 0).scene) for i in range(200)}
    assert len({str(p.scene) for p in pairs} - trained) > 10


def test_missing_masks_leave_the_batch_without(tokenizer):
    row = ToySource(seed=0, level=0)[0]
    assert collate([row, row._replace(mask=None)], tokenizer, 32).mask is None


def test_batch_is_a_pytree(tokenizer):
    (batch,) = take(tokenizer, 1)
    assert len(jax.tree.leaves(batch)) == 5
    assert len(jax.tree.leaves(dataclasses.replace(batch, mask=None))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "coco"}, "data.source='coco'"),
        ({"level": 7}, "data.level=7: expected 0 ... 3"),
        ({"mixture": (("edit:4", 1.0),)}, "'edit:4': expected a level from 0 to 3 after the colon"),
        ({"mixture": (("edit:2", 1.0),)}, "data.image_size=64: level 2 has pictures of 128 pixels"),
        ({"image_size": 256}, "data.image_size=256: level 0 has pictures of 64 pixels"),
        ({"split": "val"}, "data.split='val'"),
        ({"mixture": (("edit", 0.9),)}, "expected positive shares that add up to 1"),
        ({"mixture": ()}, "expected positive shares"),
        ({"mixture": (("edit", 1.1), ("recon", -0.1))}, "expected positive shares"),
        ({"mixture": (("edge", 1.0),)}, "expected different entries, each one of edit, recon"),
        ({"mixture": (("edit", 0.5), ("edit", 0.5))}, "expected different entries"),
        ({"order": "random"}, "data.order='random': expected stratified or iid"),
        ({"mixture": ("edit", 1.0)}, "expected pairs like"),
        ({"mixture": (("edit", float("nan")),)}, "expected pairs like"),
        ({"prompts": "long"}, "data.prompts='long': expected code, paper or toy"),
        ({"batch_size": 0}, "data.batch_size=0: expected a positive whole number"),
        ({"text_tokens": 20}, "data.text_tokens=20: depth, canny, segmentation rows of level 0"),
    ],
)
def test_settings_that_cannot_work(tokenizer, change, message):
    with pytest.raises(ConfigError, match=message):
        make_loader(dataclasses.replace(CONFIG, **change), tokenizer, start_step=0)


def test_grain_is_imported_late():
    code = "import sys, jaxedit.data.loader; print('grain' in sys.modules)"
    assert "False" in subprocess.check_output([sys.executable, "-c", code], text=True)


def test_cut_instructions_are_counted_and_said_once(tmp_path, caplog):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    line = {"source": "a.png", "target": "a.png"}
    words = ["make it blue", "ball " * 30, "ball " * 5, "ball " * 4]  # 5 words are 6 tokens
    lines = [json.dumps(line | {"instruction": text}) for text in words]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    config = DataConfig(
        source=str(tmp_path / "pairs.jsonl"),
        image_size=16,
        batch_size=4,
        text_tokens=6,
        mixture=(("edit", 1.0),),
    )
    loader = make_loader(config, TextTokenizer.load("toy-tokenizer"), start_step=0)
    for _ in range(60):
        next(loader)
    (said,) = [message for message in caplog.messages if "text_tokens" in message]
    assert said == (
        "25 of the first 100 instructions have more than data.text_tokens=6 tokens and are "
        "truncated"
    )


def test_levels_in_one_mixture(tokenizer):
    mixture = (("edit", 0.5), ("edit:0", 0.5))
    (batch,) = take(tokenizer, 1, DataConfig(level=3, batch_size=8, mixture=mixture))
    assert batch.source.shape == (8, 64, 64, 3)
    # The corner of a scene without textures has one colour.
    even = (batch.source[:, 30:40, :4] == batch.source[:, 30:31, :1]).all((1, 2, 3))
    assert 1 <= even.sum() < 8


def test_pictures_that_are_not_square_are_padded():
    pad = Fit("pad", "varedit")
    rows = [ToySource(0, 3, fit=pad)[i] for i in range(100)]
    bars = [(r.source[52:] == 255).all() or (r.source[:, 52:] == 255).all() for r in rows]
    assert 0.05 < np.mean(bars) < 0.25
    for row in (row for row, has_bar in zip(rows, bars, strict=True) if has_bar):
        assert row.source.shape == row.target.shape == (64, 64, 3) == (*row.mask.shape, 3)
        assert not row.mask[-1, -1]
    for other in (ToySource(0, 3), ToySource(0, 3, "test", fit=pad), ToySource(0, 0, fit=pad)):
        assert not any((other[i].source[-9:] == 255).all() for i in range(100))
