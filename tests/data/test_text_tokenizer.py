import sys

import numpy as np
import pytest

from jaxedit import assets
from jaxedit.data import toybox
from jaxedit.data.caption_cleaning import clean_caption
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toybox import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load("toy-tokenizer")


def test_ids_by_hand(tokenizer):
    words = ["make", "the", "ball", "blue"]
    expected = [3 + toybox.VOCABULARY.index(word) for word in words]
    assert tokenizer.encode("make the ball blue") == [*expected, 1]


def test_case_and_blanks_do_not_matter(tokenizer):
    assert tokenizer.encode("  Make  the\tBALL blue ") == tokenizer.encode("make the ball blue")


def test_pads_right_and_cuts_before_the_end_token(tokenizer):
    ids, mask = tokenizer(["remove the ball", "make the ball blue"], 4)
    assert ids.shape == mask.shape == (2, 4) and ids.dtype == np.int32 and mask.dtype == bool
    whole = tokenizer.encode("make the ball blue")
    assert list(ids[1]) == [*whole[:3], 1] and mask.all()
    ids, mask = tokenizer(["remove the ball"], 6)
    assert list(ids[0, 3:]) == [1, 0, 0] and list(mask[0]) == [True] * 4 + [False] * 2


def test_texts_may_be_cleaned_first(tokenizer):
    cleaning = TextTokenizer.load("toy-tokenizer", clean_caption)
    text = "remove the ball https://example.com"
    assert cleaning.encode(text) == tokenizer.encode("remove the ball") != tokenizer.encode(text)


def test_every_toy_instruction_is_known_and_short(tokenizer):
    for level in range(3):
        for index in range(50):
            ids = tokenizer.encode(toybox.make(0, index, level, split="train").instruction)
            assert 2 not in ids and len(ids) <= 32


def test_unknown_words_are_spelt_and_unknown_characters_marked(tokenizer):
    assert 2 not in tokenizer.encode("a zebra, quickly!")
    assert 2 in tokenizer.encode("a ☃")


def test_rebuilt_files_are_identical(tmp_path):
    build_tokenizer.build(tmp_path, toybox.VOCABULARY)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        bundled = assets.ROOT / "toy-tokenizer" / name
        assert (tmp_path / name).read_bytes() == bundled.read_bytes()


def test_torch_is_never_loaded(tokenizer):
    assert "torch" not in sys.modules


def test_vocabulary_fits_the_tiny_text_encoder(tokenizer, tmp_path):
    assert tokenizer.vocab_size == len(build_tokenizer.pieces(toybox.VOCABULARY)) <= 256
    with pytest.raises(ValueError, match="expected at most 256"):
        build_tokenizer.build(tmp_path, [f"w{i}" for i in range(300)])


def test_missing_and_damaged_files_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="bundled name .*toy-tokenizer"):
        TextTokenizer.load("no-such")
    with pytest.raises(FileNotFoundError, match="tokenizer.json or spiece.model"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer.json was not read"):
        TextTokenizer.load(tmp_path)


def test_damaged_spiece_model_names_the_packages(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"no model")
    with pytest.raises(ValueError, match="sentencepiece and protobuf"):
        TextTokenizer.load(tmp_path)
