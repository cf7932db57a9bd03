"""The parts of a run's mixture, with their exact shares."""

import functools
import pathlib
from fractions import Fraction

from jaxedit.config import ConfigError, DataConfig, require
from jaxedit.data import toybox
from jaxedit.data.local_path import require_local
from jaxedit.data.pair_file import PairFile
from jaxedit.data.pair_list import PairList
from jaxedit.data.row_variants import VARIANTS, RowVariant
from jaxedit.data.sources import RowSource, ToySource
from jaxedit.data.store import Store, is_store
from jaxedit.data.transforms import CROP, Fit

_SOURCES = "'toy', a .jsonl file of pairs, a store or a directory of stores"


def shares_of(config: DataConfig) -> tuple[Fraction, ...]:
    """The shares of the mixture, which add up to 1.

    Raises:
      ConfigError: they do not, or an entry is unknown.
    """
    where = f"data.mixture={config.mixture}"
    try:
        shares = {name: Fraction(share).limit_denominator(1000) for name, share in config.mixture}
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f'{where}: expected pairs like ("edit", 0.95)') from error
    entries = f"entries, each one of {', '.join(toybox.TASKS)}" if has_tasks(config) else "entries"
    require(
        len(shares) == len(config.mixture)
        and (not has_tasks(config) or {*shares} <= {*toybox.TASKS}),
        f"{where}: expected different {entries}",
    )
    require(
        min(shares.values(), default=0) > 0 and sum(shares.values()) == 1,
        f"{where}: expected positive shares that add up to 1",
    )
    return tuple(shares.values())


def has_tasks(config: DataConfig) -> bool:
    """Whether the entries of the mixture are tasks: those of the toybox or of a file."""
    return config.source == "toy" or config.source.endswith(".jsonl")


def components(config: DataConfig, fit: Fit = CROP) -> list[tuple[RowSource, Fraction]]:
    """The parts of the mixture with their shares.

    Raises:
      ConfigError: a part does not exist or does not fit.
      OSError: a first row is damaged.
    """
    entries = [entry for entry, _ in config.mixture]
    if config.source == "toy":
        parts = [ToySource(config.seed, config.level, config.split, entry) for entry in entries]
    elif has_tasks(config):
        pairs = PairList(config.source)
        parts = [
            PairFile(pairs, config.image_size, entry, style=config.prompts, fit=fit)
            for entry in entries
        ]
    else:
        parts = _variants(config, entries, fit)
    return list(zip(parts, shares_of(config), strict=True))


def _variants(config: DataConfig, entries: list[str], fit: Fit) -> list[RowVariant]:
    """Views of a store, or of the stores in a directory."""
    directory = pathlib.Path(config.source)
    where = f"data.source={config.source!r}"
    require_local(config.source, "data.source")
    require(directory.is_dir(), f"{where}: no such directory: expected {_SOURCES}")
    is_one = is_store(directory)
    there = sorted(path.name for path in directory.iterdir() if path.is_dir() and is_store(path))
    require(is_one or bool(there), f"{where}: there is no store: expected {_SOURCES}")
    opened = functools.cache(Store)  # two variants of a store share it

    def variant(entry: str) -> RowVariant:
        names, _, name = ("", "", entry) if is_one else entry.partition(":")
        require(
            (name or "edit") in VARIANTS,
            f"data.mixture: {entry!r}: variant {name!r}: expected one of {', '.join(VARIANTS)}",
        )
        for store in () if is_one else names.split("+"):
            require(
                store in there,
                f"data.mixture: {entry!r}: no store {store!r} in {directory}: there is "
                f"{', '.join(there)}",
            )
        return RowVariant(
            [opened(directory / store) for store in names.split("+")],
            name or "edit",
            config.image_size,
            style=config.prompts,
            fit=fit,
        )

    return [variant(entry) for entry in entries]
