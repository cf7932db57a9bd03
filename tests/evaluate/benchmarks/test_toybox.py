"""Toybox pairs in PIE-Bench's layout."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.data import toybox
from jaxedit.evaluate.benchmarks import pie_bench
from jaxedit.evaluate.benchmarks.toybox import (
    encode_mask,
    mark_changes,
    write_toybox,
)
from jaxedit.evaluate.sample import content


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(content(picture))))


@pytest.mark.parametrize("level", [0, 2, 3])
def test_samples_are_held_out_pairs(read, tmp_path, level):
    write_toybox(tmp_path / "toys", 12, seed=3, level=level)
    samples = read("toybox", tmp_path / "toys").samples
    assert [sample.type for sample in samples] == [*pie_bench.TYPES, *pie_bench.TYPES[:2]]
    for i, sample in enumerate(samples):
        expected = toybox.make(3, i, level, split="test", edit_type=i % 10)
        assert sample.instruction == expected.instruction
        np.testing.assert_array_equal(pixels(sample.source), expected.source)
        np.testing.assert_array_equal(pixels(sample.target), expected.target)
        np.testing.assert_array_equal(sample.mask[1:-1, 1:-1], expected.mask[1:-1, 1:-1])
        assert sample.mask[0].all() and toybox.check(pixels(sample.target), expected).success


def test_the_layout_is_pie_bench_s(tmp_path):
    write_toybox(tmp_path / "toys", 11, seed=0)
    samples = pie_bench.read_samples(tmp_path / "toys", 64)
    assert samples[0].key == "0_random_2/000000000000"
    assert "[" not in samples[1].target_prompt


def test_a_new_directory_is_written_first(read, tmp_path):
    assert len(read("toybox", tmp_path / "toys", count=3, seed=1).samples) == 3
    assert len(read("toybox", tmp_path / "toys").samples) == 3  # of the pairs that are there
    with pytest.raises(ConfigError, match="exists: expected a new directory"):
        write_toybox(tmp_path / "toys", 3, 1)
    with pytest.raises(ConfigError, match="count=0"):
        read("toybox", tmp_path / "other", count=0)


def test_masks_make_the_way_to_runs_and_back():
    mask = np.random.default_rng(0).random((9, 7)) < 0.5
    decoded = pie_bench.decode_mask(encode_mask(mask), mask.shape)
    np.testing.assert_array_equal(decoded[1:-1, 1:-1], mask[1:-1, 1:-1])
    assert encode_mask(np.zeros((2, 2), bool)) == []
    assert encode_mask(np.array([[False, True], [True, False]])) == [1, 2]


def test_changed_words_are_in_brackets():
    assert mark_changes("a red cat", "a red dog") == ("a red [cat]", "a red [dog]")
    assert mark_changes("a cat", "a cat and a dog") == ("a cat", "a cat [and a dog]")


def test_other_directories_are_refused(read, tmp_path):
    write_toybox(tmp_path / "toys", 1, 0)
    truth = tmp_path / "toys/toybox.json"
    truth.write_text('{"seed": 0, "level": 9, "count": 1}')
    with pytest.raises(ConfigError, match="expected the numbers seed, level and count"):
        read("toybox", tmp_path / "toys")
    truth.unlink()
    with pytest.raises(ConfigError, match="expected toybox.json"):
        read("toybox", tmp_path / "toys")
