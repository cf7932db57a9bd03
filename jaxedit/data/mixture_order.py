"""The order of a mixture's rows, a pure function of (seed, position).

Grain's own mixing is not used, because it repeats a fixed pattern of components. Here shares are
exact, the pattern is drawn anew in every period, and the order does not depend on the number of
hosts.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Int64

_ENDLESS = 2**62  # rows of the mixture
_UINT64_MAX = 2**64 - 1


@dataclasses.dataclass(frozen=True)
class MixtureOrder:
    """An endless order of the rows of components with exact shares; a Grain selection map."""

    shares: tuple[Fraction, ...]  # of the components; they add up to 1
    seed: int

    def __len__(self) -> int:
        """Return the number of positions."""
        return _ENDLESS

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Return (component, row of the component) at `position`."""
        raise NotImplementedError


class Stratified(MixtureOrder):
    """An order with exact shares.

    The mixture consists of periods whose length is the least common denominator of the shares. Each
    period contains exactly the right number of rows of every component, in its own random order.
    """

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Return (component, row of the component) at `position`."""
        ends = _ends(self.shares)
        period, k = divmod(position, ends[-1])
        rank = int(_permutation(self.seed, period, ends[-1])[k])
        component = _component(ends, rank)
        begin = ends[component - 1] if component else 0
        return component, period * (ends[component] - begin) + rank - begin


class Independent(MixtureOrder):
    """An order that draws the component of each position independently: shares hold on average.

    Position p takes row p of the drawn component. A component's rows therefore come in order, and
    its rows at the positions of other components are skipped.

    Source: EditAR's training, which also draws the row, with replacement.
    """

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Return (component, row of the component) at `position`."""
        ends = _ends(self.shares)
        rank = int(_dice(self.seed, position).integers(ends[-1]))
        return _component(ends, rank), position


@dataclasses.dataclass(frozen=True)
class RowsOf:
    """The same rows of every batch of a mixture; a Grain selection map."""

    order: MixtureOrder
    rows: range
    batch_size: int

    def __len__(self) -> int:
        """Return the number of positions of these rows."""
        return len(self.order) // self.batch_size * len(self.rows)

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Return (component, row of the component) at `position`."""
        batch, k = divmod(position, len(self.rows))
        return self.order[batch * self.batch_size + self.rows[k]]


ORDERS = {"stratified": Stratified, "iid": Independent}


def _component(ends: Sequence[int], rank: int) -> int:
    """Return the component whose interval contains `rank`."""
    return next(i for i, end in enumerate(ends) if rank < end)


@functools.cache
def _ends(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Return the cumulative number of rows of each component in a period."""
    period = math.lcm(*(share.denominator for share in shares))
    return tuple(int(sum(shares[: i + 1]) * period) for i in range(len(shares)))


@functools.lru_cache(maxsize=1024)
def _permutation(seed: int, period: int, length: int) -> Int64[np.ndarray, " length"]:
    """Return the order of the rows in a period."""
    return _dice(seed, period).permutation(length)


def _dice(seed: int, counter: int) -> np.random.Generator:
    """Return the random generator of a position or period."""
    key = np.array([seed & _UINT64_MAX, counter], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
