import numpy as np
import pytest

from jaxedit.config import ConfigError, DataConfig
from jaxedit.data import toybox
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toy_benchmark import ToyBenchmark


def make(samples, **changes):
    config = DataConfig(**{"batch_size": 8, "text_tokens": 16, "prefetch": 1} | changes)
    return ToyBenchmark(config, TextTokenizer.load("toy-tokenizer"), samples)


@pytest.fixture(scope="module")
def benchmark():
    return make(20, source="stores/mine", mixture=(("mine", 1.0),))  # it replaces both


def types():
    return ["success_" + words.replace(" ", "_") for words in toybox.EDIT_TYPES]


def test_right_edits_succeed_and_the_source_does_not(benchmark):
    right = benchmark.scores([pair.target for pair in benchmark.pairs])
    assert right == dict.fromkeys(["success", *types()], 1.0) | {"psnr_background": 100.0}
    wrong = benchmark.scores([pair.source for pair in benchmark.pairs])
    assert wrong["success"] == 0 and wrong["psnr_background"] == 100


def test_scores_by_hand(benchmark):
    edits = [pair.target for pair in benchmark.pairs]
    edits[3] = benchmark.pairs[3].source  # one of two removals
    edits[12] = edits[12] ^ 1  # a grey level: 48.13 dB, and nobody sees it
    scores = benchmark.scores(edits)
    assert (scores["success"], scores["success_delete_object"]) == (19 / 20, 0.5)
    outside = sum(not pair.mask.all() for pair in benchmark.pairs)
    expected = (100 * (outside - 1) + 10 * np.log10(255**2)) / outside
    assert scores["psnr_background"] == pytest.approx(expected)


def test_a_few_pairs_have_the_scores_of_their_types():
    one = make(1)  # whose style changes: there is nothing outside the mask
    assert one.scores([one.pairs[0].target]) == {"success": 1.0, types()[0]: 1.0}


def test_pairs_are_held_out_and_fill_their_batches(benchmark):
    assert len(benchmark) == 20 and benchmark.pairs[13].edit_type == 3
    expected = toybox.make(0, 13, 0, split="test", edit_type=3)
    np.testing.assert_array_equal(benchmark.pairs[13].target, expected.target)
    batches = list(benchmark.batches(range(4, 8)))  # of the second of two processes
    assert [batch.valid.tolist() for batch in batches] == [[True] * 4] * 2 + [[False] * 4]
    np.testing.assert_array_equal(batches[1].source[1], benchmark.pairs[13].source)


def test_the_number_of_edits_is_checked(benchmark):
    with pytest.raises(ValueError, match="longer"):
        benchmark.scores([pair.target for pair in benchmark.pairs[:19]])


@pytest.mark.parametrize("changes", [{"image_size": 128}, {"level": 2}, {"level": 9}])
def test_pictures_that_no_level_has(changes):
    with pytest.raises(ConfigError, match="eval_benchmark=.toybox.: .* a level and its size"):
        make(4, **changes)
