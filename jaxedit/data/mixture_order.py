"""Which row of which component of a mixture comes when; a pure function of (seed, position).

Ours, since Grain's own mixing repeats one fixed pattern of components. Here shares are exact, the
pattern is drawn anew, and the order is the same for any number of hosts.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

_ENDLESS = 2**62  # rows of the mixture
_WORD = 2**64 - 1


class MixtureOrder(Protocol):
    """An endless order; a Grain selection map."""

    def __len__(self) -> int:
        """Positions of the mixture."""

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(component, its row) at `position`."""


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """What all orders of components with exact shares, which add up to 1, have in common."""

    shares: tuple[Fraction, ...]
    seed: int

    def __len__(self) -> int:
        """Positions of the mixture."""
        return _ENDLESS


class Stratified(_Mixture):
    """Exact shares.

    Each period, the least common denominator of the shares, holds exactly the right number of
    rows of every component, in an order of its own.
    """

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(component, its row) at `position`."""
        ends = _ends(self.shares)
        period, k = divmod(position, ends[-1])
        rank = _permutation(self.seed, period, ends[-1])[k]
        component = _component(ends, rank)
        begin = ends[component - 1] if component else 0
        return component, period * (ends[component] - begin) + int(rank) - begin


class Independent(_Mixture):
    """A component is drawn for each position on its own, so that shares hold on average.

    Source: EditAR's training. There the row is drawn as well, with replacement; here it is the
    component's next but for the rows that the others took.
    """

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(component, its row) at `position`."""
        ends = _ends(self.shares)
        return _component(ends, _dice(self.seed, position).integers(ends[-1])), position


@dataclasses.dataclass(frozen=True)
class RowsOf:
    """The same rows of every batch of a mixture; a Grain selection map."""

    order: MixtureOrder
    rows: range
    batch_size: int

    def __len__(self) -> int:
        """Positions of these rows."""
        return len(self.order) // self.batch_size * len(self.rows)

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(component, its row) at `position`."""
        batch, k = divmod(position, len(self.rows))
        return self.order[batch * self.batch_size + self.rows[k]]


ORDERS = {"stratified": Stratified, "iid": Independent}


def _component(ends: Sequence[int], rank: int) -> int:
    return next(i for i, end in enumerate(ends) if rank < end)


@functools.cache
def _ends(shares: Sequence[Fraction]) -> tuple[int, ...]:
    period = math.lcm(*(share.denominator for share in shares))
    return tuple(int(sum(shares[: i + 1]) * period) for i in range(len(shares)))


@functools.lru_cache(maxsize=1024)
def _permutation(seed: int, period: int, length: int) -> np.ndarray:
    return _dice(seed, period).permutation(length)


def _dice(seed: int, counter: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed & _WORD, counter], np.uint64)))
