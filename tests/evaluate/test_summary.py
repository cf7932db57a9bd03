"""Means over samples and types, by hand."""

import math

import pytest

from jaxedit.evaluate.summary import summarise, summarise_types


def test_mean_and_standard_error():
    found = summarise([1.0, 2.0, 3.0, 6.0])
    assert found["mean"] == 3.0 and found["n"] == 4
    # variance (4 + 1 + 0 + 9) / 3, over 4 samples
    assert found["standard_error"] == pytest.approx(math.sqrt(14 / 3 / 4))


def test_undefined_values_do_not_count_and_infinite_values_are_told():
    found = summarise([math.nan, math.inf, 4.0, 6.0])
    assert (found["n"], found["n_nan"], found["n_inf"]) == (3, 1, 1)
    assert found["mean"] == "inf" and found["mean_finite"] == 5.0


def test_no_value():
    assert summarise([math.nan])["mean"] == "nan"
    assert summarise([])["n"] == 0


def test_types_are_weighted_by_their_samples_or_alike():
    rows = [
        {"type": kind, "scores": {"s": value}}
        for kind, value in (("a", 1.0), ("a", 2.0), ("a", 3.0), ("b", 10.0))
    ]
    by_samples = summarise_types(rows, "s", "samples")
    assert by_samples["mean"] == 4.0
    assert by_samples["types"]["a"]["mean"] == 2.0 and by_samples["types"]["b"]["n"] == 1
    assert summarise_types(rows, "s", "types")["mean"] == 6.0
    assert summarise_types(rows, "t", "samples")["n"] == 0
