"""The rows of the validation loss and their batches, which are equal at every validation."""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from jaxedit.config import DataConfig, require
from jaxedit.data.batch import EditBatch, Examples, collate, examples_of
from jaxedit.data.loader import validate
from jaxedit.data.mixture import components, has_tasks
from jaxedit.data.sources import Row, RowSource
from jaxedit.data.store import is_store
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.transforms import CROP, Fit
from jaxedit.sharding import distributed

log = logging.getLogger(__name__)


class ValidationRows:
    """Rows for the validation loss, in the shares of their mixture; each row occurs once.

    Attributes:
      name: origin of the rows, for logs.
    """

    def __init__(
        self, config: DataConfig, tokenizer: TextTokenizer, batches: int, fit: Fit = CROP
    ) -> None:
        """Open the data that `config.validation` names, and choose rows for `batches` batches.

        There are fewer batches if there are not enough rows. All processes of a run must call this.

        Raises:
          ConfigError: a setting cannot work, or the data it names do not exist or differ between
            hosts.
          OSError: data are damaged.
        """
        self._config, self._tokenizer = config, tokenizer
        if config.held_out_share:
            self.name = f"{config.validation} of {config.source}"
            parts = components(config, fit, is_held_out=True)
        else:
            other = validation_config(config)
            validate(other)
            self.name = "the toybox's test split" if other.source == "toy" else other.source
            parts = components(other, fit, setting="data.validation")
        self._parts = [part for part, _ in parts]
        self._order = interleave(
            [share for _, share in parts],
            [len(part) for part in self._parts],
            batches * config.batch_size,
        )
        last = self[len(self) - 1].instruction
        distributed.assert_same_on_all_hosts({self.name: f"{len(self)} rows, the last {last!r}"})

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._order)

    def __getitem__(self, index: int) -> Row:
        """Return row `index`.

        Raises:
          OSError: data are damaged.
        """
        part, row = self._order[index]
        return self._parts[part][row]

    def examples(self, n: int) -> Examples:
        """Return the first `n` rows, for a sample sheet; fewer rows are repeated."""
        rows = [self[i % len(self)] for i in range(n)]
        return examples_of(rows, self._tokenizer, self._config.text_tokens)

    def batches(self, rows: range) -> Iterator[EditBatch]:
        """Return all batches; copies of the last row, which are not `valid`, fill the last batch.

        Args:
          rows: rows of each batch of `config.batch_size` that this process's devices hold.

        Raises:
          OSError: data are damaged; raised by the iterator.
        """
        return full_batches(self, self._config, self._tokenizer, rows)


def full_batches(
    source: RowSource, config: DataConfig, tokenizer: TextTokenizer, rows: range
) -> Iterator[EditBatch]:
    """Return all rows of a source as batches of one size; see `ValidationRows.batches`."""
    import grain  # slow to import, and only training needs it

    last, size = len(source) - 1, config.batch_size
    indices = [start + row for start in range(0, len(source), size) for row in rows]

    def take(index: int) -> tuple[Row, bool]:
        return source[min(index, last)], index <= last

    def stack(found: Sequence[tuple[Row, bool]]) -> EditBatch:
        batch = collate([row for row, _ in found], tokenizer, config.text_tokens)
        return dataclasses.replace(batch, valid=np.array([valid for _, valid in found]))

    batches = grain.MapDataset.source(indices).map(take).batch(len(rows), batch_fn=stack)
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
    return iter(batches.to_iter_dataset(options))


def validation_config(config: DataConfig) -> DataConfig:
    """Return the data config of a validation on another source than the training rows.

    Raises:
      ConfigError: the training rows are the toybox's test split.
    """
    source = config.validation or "toy"
    require(
        source != "toy" or config.source != "toy" or config.split == "train",
        f"data.split={config.split!r}: expected 'train', as the validation is on the test split",
    )
    is_like_training = kind_of(source) == kind_of(config.source)
    mixture = config.validation_mixture or (
        config.mixture if is_like_training else (("edit", 1.0),)
    )
    return dataclasses.replace(config, source=source, split="test", mixture=mixture, validation="")


def kind_of(source: str) -> str:
    """Return the kind of the entries of a source's mixture: tasks, variants or stores."""
    if has_tasks(source):
        return "tasks"
    return "variants" if is_store(pathlib.Path(source)) else "stores"


def interleave(
    shares: Sequence[Fraction], lengths: Sequence[int], most: int
) -> list[tuple[int, int]]:
    """Return (part, row of the part) of rows that keep as closely as possible to the shares.

    Args:
      shares: shares of the parts, which add up to 1.
      lengths: number of rows of each part; the list ends before a row would be repeated.
      most: largest length of the list.
    """
    taken, order = [0] * len(shares), []
    for n in range(1, most + 1):
        part = max(range(len(shares)), key=lambda i: shares[i] * n - taken[i])
        if taken[part] == lengths[part]:
            break
        order.append((part, taken[part]))
        taken[part] += 1
    return order
