from collections import Counter
from fractions import Fraction

import pytest

from jaxedit.data.mixture_order import Independent, RowsOf, Stratified

SHARES = (Fraction(7, 10), Fraction(1, 20), Fraction(1, 4))
EDITAR = tuple(Fraction(share, 20) for share in (3, 3, 3, 5, 6))


def test_stratified_is_exact_in_every_period():
    order = Stratified(SHARES, 0)
    rows = [order[i] for i in range(200)]
    for period in range(10):
        parts = [part for part, _ in rows[20 * period : 20 * period + 20]]
        assert [parts.count(j) for j in range(3)] == [14, 1, 5]
    for j in range(3):  # each row of a component once
        inner = sorted(row for part, row in rows if part == j)
        assert inner == list(range(len(inner)))
    assert [p for p, _ in rows[:20]] != [p for p, _ in rows[20:40]]


def test_stratified_mixture_of_editar():
    order = Stratified(EDITAR, 3)
    counts = Counter(order[i][0] for i in range(2000))
    assert [counts[part] for part in range(5)] == [300, 300, 300, 500, 600]


def test_independent_draws_have_the_shares_on_average():
    order = Independent(EDITAR, 3)
    drawn = [order[i] for i in range(4000)]
    counts = Counter(part for part, _ in drawn)
    for part, share in enumerate(EDITAR):
        expected = float(4000 * share)
        spread = (expected * (1 - float(share))) ** 0.5
        assert abs(counts[part] - expected) < 4 * spread
    windows = {Counter(p for p, _ in drawn[i : i + 20])[4] for i in range(0, 4000, 20)}
    assert len(windows) > 5  # not stratified
    assert len(set(drawn)) == len(drawn)  # no row twice in a pass


@pytest.mark.parametrize("kind", [Stratified, Independent])
def test_an_order_is_a_function_of_seed_and_position(kind):
    positions = (0, 5, 10**12)
    assert [kind(SHARES, 1)[i] for i in positions] == [kind(SHARES, 1)[i] for i in positions]
    assert [kind(SHARES, 1)[i] for i in range(40)] != [kind(SHARES, 2)[i] for i in range(40)]


def test_rows_of_a_batch():
    order = Stratified(SHARES, 0)
    mine = RowsOf(order, range(2, 4), 8)
    assert [mine[i] for i in range(4)] == [order[i] for i in (2, 3, 10, 11)]
