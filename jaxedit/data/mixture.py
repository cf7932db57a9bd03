"""The parts of a training mixture and their exact shares."""

import functools
import pathlib
from fractions import Fraction

import numpy as np

from jaxedit.config import ConfigError, DataConfig, require
from jaxedit.data import toybox
from jaxedit.data.held_out import hash_keys, is_held_out
from jaxedit.data.local_path import require_local
from jaxedit.data.pair_file import PairFile
from jaxedit.data.pair_list import PairList
from jaxedit.data.row_variants import VARIANTS, RowVariant
from jaxedit.data.sources import FiniteSource, RowSource, ToySource
from jaxedit.data.store import Store, is_store
from jaxedit.data.transforms import CROP, Fit

_SOURCES = "'toy', a .jsonl file of pairs, a store or a directory of stores"


def shares_of(config: DataConfig) -> tuple[Fraction, ...]:
    """Return the exact shares of the mixture.

    Raises:
      ConfigError: the shares do not add up to 1, or an entry is unknown.
    """
    where = f"data.mixture={config.mixture}"
    try:
        shares = {name: Fraction(share).limit_denominator(1000) for name, share in config.mixture}
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f'{where}: expected pairs like ("edit", 0.95)') from error
    is_of_tasks = has_tasks(config.source)
    entries = f"entries, each one of {', '.join(toybox.TASKS)}" if is_of_tasks else "entries"
    require(
        len(shares) == len(config.mixture) and (not is_of_tasks or {*shares} <= {*toybox.TASKS}),
        f"{where}: expected different {entries}",
    )
    require(
        min(shares.values(), default=0) > 0 and sum(shares.values()) == 1,
        f"{where}: expected positive shares that add up to 1",
    )
    return tuple(shares.values())


def has_tasks(source: str) -> bool:
    """Whether the entries of a source's mixture are tasks: those of the toybox or of a file."""
    return source == "toy" or source.endswith(".jsonl")


def components(
    config: DataConfig, fit: Fit = CROP, setting: str = "data.source"
) -> list[tuple[RowSource, Fraction]]:
    """Return the parts of the mixture with their shares, without the rows of the validation.

    Args:
      config: what to read.
      fit: how pictures become squares.
      setting: that names the source, for messages.

    Raises:
      ConfigError: a part does not exist or does not fit.
      OSError: a first row is damaged.
    """
    parts = open_parts(config, fit, setting)
    if share := config.held_out_share:
        parts = [
            part.select(np.flatnonzero(~is_held_out(part.keys(), share, config.seed)))
            for part in parts
        ]
        _require_rows(config, parts, "leaves none of its rows for training: a smaller")
    return list(zip(parts, shares_of(config), strict=True))


def held_out_components(config: DataConfig, fit: Fit = CROP) -> list[tuple[RowSource, Fraction]]:
    """Return what `components` leaves out, each part in an order that only the hash knows.

    Raises:
      ConfigError, OSError: as `components`; or nothing is held out.
    """

    def select(part: FiniteSource) -> FiniteSource:
        keys = part.keys()
        rows = np.flatnonzero(is_held_out(keys, config.held_out_share, config.seed))
        return part.select(rows[np.argsort(hash_keys(keys[rows], config.seed), kind="stable")])

    parts = [select(part) for part in open_parts(config, fit)]
    _require_rows(config, parts, "holds out none of its rows: a larger")
    return list(zip(parts, shares_of(config), strict=True))


def _require_rows(config: DataConfig, parts: list[RowSource], wrong: str) -> None:
    for (entry, _), part in zip(config.mixture, parts, strict=True):
        require(
            len(part) > 0,
            f"data.validation={config.validation}: of {entry!r} in {config.source} it {wrong} "
            "share",
        )


def open_parts(
    config: DataConfig, fit: Fit = CROP, setting: str = "data.source"
) -> list[RowSource]:
    """Return the parts of the mixture, with all their rows; arguments as of `components`.

    Raises:
      ConfigError: a part does not exist or does not fit.
      OSError: a first row is damaged.
    """
    entries = [entry for entry, _ in config.mixture]
    if config.source == "toy":
        return [ToySource(config.seed, config.level, config.split, entry) for entry in entries]
    if has_tasks(config.source):
        pairs = PairList(config.source)
        return [
            PairFile(pairs, config.image_size, entry, style=config.prompts, fit=fit)
            for entry in entries
        ]
    return _variants(config, entries, fit, setting)


def _variants(config: DataConfig, entries: list[str], fit: Fit, setting: str) -> list[RowVariant]:
    """Return the variants of a store, or of the stores in a directory, that the entries name."""
    directory = pathlib.Path(config.source)
    where = f"{setting}={config.source!r}"
    require_local(config.source, setting)
    require(directory.is_dir(), f"{where}: no such directory: expected {_SOURCES}")
    is_single = is_store(directory)
    found = sorted(path.name for path in directory.iterdir() if path.is_dir() and is_store(path))
    require(is_single or bool(found), f"{where}: there is no store: expected {_SOURCES}")
    opened = functools.cache(Store)  # variants of the same store share it

    def variant(entry: str) -> RowVariant:
        names, _, name = ("", "", entry) if is_single else entry.partition(":")
        require(
            (name or "edit") in VARIANTS,
            f"data.mixture: {entry!r}: variant {name!r}: expected one of {', '.join(VARIANTS)}",
        )
        for store in () if is_single else names.split("+"):
            require(
                store in found,
                f"data.mixture: {entry!r}: no store {store!r} in {directory}: expected one of "
                f"{', '.join(found)}",
            )
        return RowVariant(
            [opened(directory / store) for store in names.split("+")],
            name or "edit",
            config.image_size,
            style=config.prompts,
            fit=fit,
        )

    return [variant(entry) for entry in entries]
