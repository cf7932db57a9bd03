"""A benchmark that needs no files: held-out toybox pairs, whose edits the exact checker judges."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from jaxedit.config import DataConfig, require
from jaxedit.data import toybox
from jaxedit.data.batch import EditBatch
from jaxedit.data.loader import held_out_pairs
from jaxedit.data.sources import Row, row_of
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toybox import CheckResult, ToyPair
from jaxedit.data.validation import full_batches


class ToyBenchmark:
    """Pairs of all edit types in turn, of the test split, always the same."""

    name = "toybox"

    def __init__(self, config: DataConfig, tokenizer: TextTokenizer, samples: int) -> None:
        """Draw the pairs, of the level and the seed of the training data, whatever their source.

        Args:
          samples: number of pairs.

        Raises:
          ConfigError: the training pictures have another size than the level's, or there is no such
            level.
        """
        config = dataclasses.replace(config, source="toy", mixture=(("edit", 1.0),))
        sizes = dict(enumerate(level.image_size for level in toybox.LEVELS))
        require(
            sizes.get(config.level) == config.image_size,
            f"eval_benchmark='toybox': data.level={config.level} and data.image_size="
            f"{config.image_size}: expected a level and its size, one of {sizes}",
        )
        self.pairs = held_out_pairs(config, samples)
        self._config, self._tokenizer = config, tokenizer

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Row:
        """Return row `index`."""
        return row_of(self.pairs[index])

    def batches(self, rows: range) -> Iterator[EditBatch]:
        """Return all batches; see `ValidationRows.batches`."""
        return full_batches(self, self._config, self._tokenizer, rows)

    def scores(self, edits: Sequence[UInt8[np.ndarray, "H W 3"]]) -> dict[str, float]:
        """Judge an edited picture for each pair, and return `mean_scores`.

        Raises:
          ValueError: there are fewer or more pictures than pairs, or their size is another.
        """
        found = [toybox.check(edit, pair) for edit, pair in zip(edits, self.pairs, strict=True)]
        return mean_scores(found, self.pairs)


def mean_scores(found: Sequence[CheckResult], pairs: Sequence[ToyPair]) -> dict[str, float]:
    """Return means of the checker's findings in the edits of pairs.

    The means are "success", the share of edits that are exact; "success_<type>" of each edit type
    that occurs, such as "success_add_object"; and "psnr_background", in dB, of the pixels outside
    the edit mask, over the edits whose mask leaves some pixels out.
    """
    scores = {"success": float(np.mean([each.success for each in found]))}
    for number, words in enumerate(toybox.EDIT_TYPES):
        of_type = [f.success for f, p in zip(found, pairs, strict=True) if p.edit_type == number]
        if of_type:
            scores[f"success_{words.replace(' ', '_')}"] = float(np.mean(of_type))
    outside = [each.psnr_outside for each in found if each.psnr_outside is not None]
    return scores | ({"psnr_background": float(np.mean(outside))} if outside else {})
