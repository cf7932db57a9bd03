"""The loader: the batch of a step is a pure function of (seed, step), for any number of hosts."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxedit.config import DataConfig, require
from jaxedit.config.fields import check_fields
from jaxedit.data import prompts, toybox
from jaxedit.data.batch import EditBatch, collate
from jaxedit.data.mixture import components, shares_of, toy_entries
from jaxedit.data.mixture_order import ORDERS, RowsOf
from jaxedit.data.sources import Row, RowSource, row_of
from jaxedit.data.stored_codes import Encoding
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toybox.language import longest_caption
from jaxedit.data.transforms import CROP, Fit
from jaxedit.sharding import distributed

log = logging.getLogger(__name__)

_COUNTED = 100  # instructions seen before a warning says how many of them were truncated


class CodesToRead(NamedTuple):
    """The codes that batches hold; every part of the mixture has them."""

    encoding: Encoding
    has_pictures: bool  # whether batches hold the pictures too


def make_loader(
    config: DataConfig,
    tokenizer: TextTokenizer,
    *,
    start_step: int,
    rows: range | None = None,
    fit: Fit = CROP,
    codes: CodesToRead | None = None,
) -> Iterator[EditBatch]:
    """Return an endless iterator over numpy batches, starting with the batch of `start_step`.

    In a run of several processes, all processes must call this function.

    Args:
      start_step: number of batches to skip.
      rows: consecutive rows of each batch of `config.batch_size` that this process reads, which are
        the rows of its devices. Default: all rows.
      codes: read these codes, which are stored beside the rows.

    Raises:
      NoCodes: a part of the mixture lacks these codes.
      ConfigError: a setting cannot work, or what it names does not exist or differs between hosts.
      OSError: data are damaged; also raised by the iterator, with the store and the row.
    """
    import grain  # slow to import, and only training needs it

    validate(config)
    rows = range(config.batch_size) if rows is None else rows
    parts, shares = zip(*components(config, fit), strict=True)
    if config.source != "toy":
        distributed.assert_same_on_all_hosts(_described(config, parts))
    if codes:
        parts = [part.with_codes(codes.encoding, has_pictures=codes.has_pictures) for part in parts]
    streams = [
        grain.MapDataset.source(source).seed(config.seed + i).shuffle().repeat()
        for i, source in enumerate(parts)
    ]
    order = ORDERS[config.order](shares, config.seed)
    mine = RowsOf(order, rows, config.batch_size)
    batches = grain.MapDataset.select_from_datasets(streams, mine).batch(
        len(rows), drop_remainder=True, batch_fn=_Collate(tokenizer, config.text_tokens)
    )
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
    iterator = iter(batches.to_iter_dataset(options))
    grain.experimental.set_next_index(iterator, start_step)
    return iterator


class _Collate:
    """`collate` with a warning, logged once, about instructions that are truncated."""

    def __init__(self, tokenizer: TextTokenizer, text_tokens: int) -> None:
        self._tokenizer, self._length = tokenizer, text_tokens
        self._seen = self._cut = 0
        self._has_said = False

    def __call__(self, rows: Sequence[Row]) -> EditBatch:
        batch = collate(rows, self._tokenizer, self._length)
        if not self._has_said:
            # Rows without padding are truncated, or have exactly this length.
            full = np.flatnonzero(batch.text_mask.all(axis=1))
            lengths = [len(self._tokenizer.encode(rows[i].instruction)) for i in full]
            self._cut += sum(length > self._length for length in lengths)
            self._seen += len(rows)
            self._has_said = self._cut > 0 and self._seen >= _COUNTED
            if self._has_said:
                log.warning(
                    f"{self._cut} of the first {self._seen} instructions have more than "
                    f"data.text_tokens={self._length} tokens and are truncated"
                )
        return batch


def _described(config: DataConfig, parts: Sequence[RowSource]) -> dict[str, str]:
    """Log each part of the mixture, and describe it for a comparison between hosts."""
    about = {}
    for (entry, share), part in zip(config.mixture, parts, strict=True):
        log.info("data: %s: %d rows, %g of the mixture", entry, len(part), share)
        last = part[len(part) - 1].instruction
        about[f"data {entry}"] = f"{len(part)} rows, the last {last!r}"
    return about


def validate(config: DataConfig) -> None:
    """Raise ConfigError for settings that cannot work."""
    check_fields(config, "data")
    shares_of(config)
    if config.source == "toy":
        _validate_toy(config)


def _validate_toy(config: DataConfig) -> None:
    last = len(toybox.LEVELS) - 1
    require(config.level <= last, f"data.level={config.level}: expected 0 ... {last}")
    for task, level in [("edit", config.level), *toy_entries(config)]:
        size = toybox.LEVELS[level].image_size
        require(
            config.image_size == size,
            f"data.image_size={config.image_size}: level {level} has pictures of {size} pixels",
        )
        words = longest_caption(toybox.LEVELS[level])
        require(
            config.text_tokens > words or task not in prompts.TASKS,
            f"data.text_tokens={config.text_tokens}: {', '.join(prompts.TASKS)} rows of level "
            f"{level} have up to {words + 1} tokens",
        )


def held_out_pairs(config: DataConfig, n: int, *, shape: str = "square") -> list[toybox.ToyPair]:
    """Return the first `n` toybox pairs of the test split, cycling through the ten edit types.

    Args:
      shape: of the pictures; see `toybox.make`.

    Raises:
      ConfigError: a setting cannot work, or the data are not the toybox.
    """
    validate(config)
    require(config.source == "toy", f"data.source={config.source!r}: only 'toy' has a test split")
    return [
        toybox.make(
            config.seed,
            i,
            config.level,
            split="test",
            edit_type=i % len(toybox.EDIT_TYPES),
            shape=shape,
        )
        for i in range(n)
    ]


def example_rows(config: DataConfig, n: int, fit: Fit = CROP) -> list[Row]:
    """Return `n` rows for sample sheets: held-out toybox rows, else rows of all parts in turn.

    Raises:
      ConfigError: a setting cannot work, or what it names does not exist.
      OSError: data are damaged.
    """
    validate(config)
    if config.source == "toy":
        return [row_of(pair) for pair in held_out_pairs(config, n)]
    parts = [part for part, _ in components(config, fit)]
    rounds = (divmod(i, len(parts)) for i in range(n))
    return [parts[which][row % len(parts[which])] for row, which in rounds]
