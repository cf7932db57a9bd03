"""Build the bundled toy tokenizer: `python -m jaxedit.data.toybox.build_tokenizer DIRECTORY`.

The tokenizer is a Unigram model made from a fixed list of words. It is not trained, because trained
scores differ from run to run. The JSON is made here and is identical for every version of the
libraries.
"""

import argparse
import json
import pathlib
import string
from collections.abc import Sequence

from jaxedit.data import toybox

SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0, 1, 2
# Text is lower-cased first, so capitals need no pieces of their own.
CHARACTERS = [c for c in string.printable if c not in string.ascii_uppercase and not c.isspace()]
MAX_SIZE = 256  # rows of the tiny text encoder's embedding


def pieces(words: Sequence[str]) -> list[tuple[str, float]]:
    """Return (piece, log-probability) by id: words are likeliest, then the space, then letters."""
    special = [(piece, 0.0) for piece in SPECIAL]
    whole = [(f"▁{word}", round(-2 - 0.01 * i, 3)) for i, word in enumerate(words)]
    single = [(c, round(-8 - 0.001 * i, 3)) for i, c in enumerate(CHARACTERS)]
    return [*special, *whole, ("▁", -4.0), *single]


def build(directory: pathlib.Path, words: Sequence[str]) -> None:
    """Write tokenizer.json and tokenizer_config.json into `directory`.

    Raises:
      ValueError: there are more pieces than the tiny text encoder has rows.
    """
    vocabulary = pieces(words)
    if len(vocabulary) > MAX_SIZE:
        raise ValueError(f"{len(vocabulary)} pieces: expected at most {MAX_SIZE}")
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # T5Tokenizer would drop Lowercase
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": 512,
    }
    contents = {"tokenizer.json": _tokenizer(vocabulary), "tokenizer_config.json": config}
    for name, content in contents.items():
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (directory / name).write_text(text, encoding="utf-8")


def _tokenizer(vocabulary: list[tuple[str, float]]) -> dict:
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": piece, **flags, "normalized": False, "special": True}
            for i, piece in enumerate(SPECIAL)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"},
                {"type": "Lowercase"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        },
        "pre_tokenizer": space,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, end],
            "pair": [first, end, second, end],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, help="where to write the two files")
    build(parser.parse_args().directory, toybox.VOCABULARY)
