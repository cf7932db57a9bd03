"""The parts of a training mixture and their exact shares."""

import functools
import pathlib
from fractions import Fraction

import numpy as np

from jaxedit.config import ConfigError, DataConfig, require
from jaxedit.data import held_out, toybox
from jaxedit.data.pair_file import PairFile
from jaxedit.data.pair_list import PairList
from jaxedit.data.row_variants import VARIANTS, RowVariant
from jaxedit.data.sources import FiniteSource, RowSource, ToySource
from jaxedit.data.store import Store, is_store, require_local
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
    tasks = {task for task, _ in toy_entries(config)} if config.source == "toy" else {*shares}
    require(
        len(shares) == len(config.mixture) and (not is_of_tasks or tasks <= {*toybox.TASKS}),
        f"{where}: expected different {entries}",
    )
    require(
        min(shares.values(), default=0) > 0 and sum(shares.values()) == 1,
        f"{where}: expected positive shares that add up to 1",
    )
    return tuple(shares.values())


def toy_entries(config: DataConfig) -> list[tuple[str, int]]:
    """Return task and level of each entry of the toybox's mixture: "edit", or "edit:0" for level 0.

    Raises:
      ConfigError: there is no such level.
    """
    found = []
    for entry, _ in config.mixture:
        task, colon, level = str(entry).partition(":")
        levels = range(len(toybox.LEVELS))
        require(
            not colon or level in map(str, levels),
            f"data.mixture: {entry!r}: expected a level from 0 to {levels[-1]} after the colon",
        )
        found.append((task, int(level) if colon else config.level))
    return found


def has_tasks(source: str) -> bool:
    """Tell whether the entries of a source's mixture are tasks, of the toybox or of a file."""
    return source == "toy" or source.endswith(".jsonl")


def components(
    config: DataConfig, fit: Fit = CROP, *, setting: str = "data.source", is_held_out: bool = False
) -> list[tuple[RowSource, Fraction]]:
    """Return the parts of the mixture with their shares: training rows, or held-out rows.

    Args:
      setting: name of the setting that names the source, for messages.
      is_held_out: return the rows of the validation, each part in the order of their hashes,
        instead of the rows of the training.

    Raises:
      ConfigError: a part does not exist, does not fit, or has no rows.
      OSError: a first row is damaged.
    """
    parts = _open_parts(config, fit, setting)
    if config.held_out_share:
        parts = [_side(part, config, is_held_out) for part in parts]
        empty = [
            entry for (entry, _), part in zip(config.mixture, parts, strict=True) if not len(part)
        ]
        wrong = "holds out no row" if is_held_out else "leaves no row for training"
        expected = "larger" if is_held_out else "smaller"
        require(
            not empty,
            f"data.validation={config.validation}: {wrong} of {empty} in {config.source}: expected "
            f"a {expected} share",
        )
    return list(zip(parts, shares_of(config), strict=True))


def _side(part: FiniteSource, config: DataConfig, is_held_out: bool) -> FiniteSource:
    """Return the held-out rows of a part, in the order of their hashes, or all other rows."""
    keys = part.keys()
    is_chosen = held_out.is_held_out(keys, config.held_out_share, config.seed)
    if not is_held_out:
        return part.select(np.flatnonzero(~is_chosen))
    rows = np.flatnonzero(is_chosen)
    return part.select(rows[np.argsort(held_out.hash_keys(keys[rows], config.seed), kind="stable")])


def _open_parts(config: DataConfig, fit: Fit, setting: str) -> list[RowSource]:
    """Return the parts of the mixture, with all their rows; see `components`."""
    entries = [entry for entry, _ in config.mixture]
    if config.source == "toy":
        return [
            ToySource(config.seed, level, config.split, task, fit, not config.imperfect_pairs)
            for task, level in toy_entries(config)
        ]
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
