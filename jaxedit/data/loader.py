"""Batches by step: the batch of a step is a pure function of (seed, step), on any host count."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from jaxedit.config import ConfigError, DataConfig, require
from jaxedit.data import prompts, toy
from jaxedit.data.batch import EditBatch, collate
from jaxedit.data.pair_file import PairFile
from jaxedit.data.sources import Row, Source, ToySource, row_of
from jaxedit.data.text import TextTokenizer
from jaxedit.data.toy.language import longest_caption
from jaxedit.data.transforms import CROPS

_ENDLESS = 2**62  # rows of the mixture


def make_loader(
    config: DataConfig,
    tokenizer: TextTokenizer,
    *,
    start_step: int,
    rows: range | None = None,
) -> Iterator[EditBatch]:
    """Endless numpy batches of the steps `start_step`, `start_step + 1`, ...

    Args:
      config: what to read.
      tokenizer: of the instructions.
      start_step: number of batches to pass over.
      rows: which rows of each batch of `config.batch_size`, one after the other: those of this
        process's devices. No other row is read. Default all.

    Raises:
      ConfigError: a setting cannot work.
    """
    import grain  # slow to import, and only training needs it

    validate(config)
    rows = range(config.batch_size) if rows is None else rows
    parts = components(config)
    streams = [
        grain.MapDataset.source(source).seed(config.seed + i).shuffle().repeat()
        for i, (source, _) in enumerate(parts)
    ]
    order = Stratified(tuple(share for _, share in parts), config.seed)
    mine = RowsOf(order, rows, config.batch_size)
    batches = grain.MapDataset.select_from_datasets(streams, mine).batch(
        len(rows),
        drop_remainder=True,
        batch_fn=lambda rows: collate(rows, tokenizer, config.text_tokens),
    )
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
    iterator = iter(batches.to_iter_dataset(options))
    grain.experimental.set_next_index(iterator, start_step)
    return iterator


def validate(config: DataConfig) -> None:
    """Raise ConfigError for settings that cannot work."""
    require(
        config.source == "toy" or config.source.endswith(".jsonl"),
        f"data.source={config.source!r}: expected 'toy' or a .jsonl file of pairs",
    )
    require(
        config.prompts in prompts.PROMPTS,
        f"data.prompts={config.prompts!r}: expected one of {', '.join(prompts.PROMPTS)}",
    )
    require(config.crop in CROPS, f"data.crop={config.crop!r}: expected one of {', '.join(CROPS)}")
    _validate_mixture(config)
    for name in ("batch_size", "image_size", "text_tokens", "threads", "prefetch"):
        value = getattr(config, name)
        require(value > 0, f"data.{name}={value}: expected a positive number")
    if config.source == "toy":
        _validate_toy(config)


def _validate_mixture(config: DataConfig) -> None:
    where = f"data.mixture={config.mixture}"
    try:
        shares = {task: _exact(share) for task, share in config.mixture}
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f'{where}: expected pairs like ("edit", 0.95)') from error
    require(
        set(shares) <= set(toy.TASKS) and len(shares) == len(config.mixture),
        f"{where}: expected different tasks of {', '.join(toy.TASKS)}",
    )
    require(
        min(shares.values(), default=0) > 0 and sum(shares.values()) == 1,
        f"{where}: expected positive shares that add up to 1",
    )


def _validate_toy(config: DataConfig) -> None:
    levels = range(len(toy.LEVELS))
    require(config.level in levels, f"data.level={config.level}: expected 0, 1 or 2")
    size = toy.LEVELS[config.level].image_size
    require(
        config.image_size == size,
        f"data.image_size={config.image_size}: level {config.level} has pictures of {size} pixels",
    )
    require(
        config.split in toy.SPLITS,
        f"data.split={config.split!r}: expected one of {', '.join(toy.SPLITS)}",
    )
    words = longest_caption(toy.LEVELS[config.level])
    require(
        config.text_tokens > words or not set(prompts.TASKS) & {t for t, _ in config.mixture},
        f"data.text_tokens={config.text_tokens}: {', '.join(prompts.TASKS)} rows of level "
        f"{config.level} have up to {words + 1} tokens",
    )


def components(config: DataConfig) -> list[tuple[Source, Fraction]]:
    """The parts of the mixture with their exact shares, which add up to 1."""
    return [(_source(config, task), _exact(share)) for task, share in config.mixture]


def _exact(share: float) -> Fraction:
    return Fraction(share).limit_denominator(1000)


def _source(config: DataConfig, task: str) -> Source:
    if config.source == "toy":
        return ToySource(config.seed, config.level, config.split, task)
    return PairFile(config.source, config.image_size, task, style=config.prompts, crop=config.crop)


@dataclasses.dataclass(frozen=True)
class Stratified:
    """Which row of which component comes at a position of the mixture; a Grain selection map.

    Each period, the least common denominator of the shares, holds exactly the right number of
    rows of every component, in an order of its own.
    """

    shares: tuple[Fraction, ...]
    seed: int

    def __len__(self) -> int:
        """Positions of the mixture."""
        return _ENDLESS

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(component, its row) at `position`."""
        ends = _ends(self.shares)
        period, k = divmod(position, ends[-1])
        rank = _permutation(self.seed, period, ends[-1])[k]
        component = next(i for i, end in enumerate(ends) if rank < end)
        begin = ends[component - 1] if component else 0
        return component, period * (ends[component] - begin) + int(rank) - begin


@dataclasses.dataclass(frozen=True)
class RowsOf:
    """The same rows of every batch of a mixture; a Grain selection map."""

    order: Stratified
    rows: range
    batch_size: int

    def __len__(self) -> int:
        """Positions of these rows."""
        return len(self.order) // self.batch_size * len(self.rows)

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(component, its row) at `position`."""
        batch, k = divmod(position, len(self.rows))
        return self.order[batch * self.batch_size + self.rows[k]]


@functools.cache
def _ends(shares: Sequence[Fraction]) -> tuple[int, ...]:
    period = math.lcm(*(share.denominator for share in shares))
    return tuple(int(sum(shares[: i + 1]) * period) for i in range(len(shares)))


@functools.lru_cache(maxsize=1024)
def _permutation(seed: int, period: int, length: int) -> np.ndarray:
    key = np.array([seed & (2**64 - 1), period], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(length)


def held_out_pairs(config: DataConfig, n: int) -> list[toy.ToyPair]:
    """The first `n` toybox pairs of the test split, the ten edit types in turn.

    Raises:
      ConfigError: a setting cannot work, or the data are not the toybox.
    """
    validate(config)
    require(config.source == "toy", f"data.source={config.source!r}: only 'toy' has a test split")
    return [
        toy.make(config.seed, i, config.level, split="test", edit_type=i % len(toy.EDIT_TYPES))
        for i in range(n)
    ]


def example_rows(config: DataConfig, n: int) -> list[Row]:
    """`n` rows to look at: held-out ones of the toybox, or those of a file's first task.

    Raises:
      ConfigError: a setting cannot work.
    """
    validate(config)
    if config.source == "toy":
        return [row_of(pair) for pair in held_out_pairs(config, n)]
    task, _ = config.mixture[0]
    source = _source(config, task)
    return [source[i % len(source)] for i in range(n)]
