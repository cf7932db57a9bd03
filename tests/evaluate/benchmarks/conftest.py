"""Readers of benchmarks."""

import pytest

from jaxedit.evaluate.benchmarks.registry import BENCHMARKS
from jaxedit.evaluate.judges import JUDGES
from jaxedit.evaluate.scores.registry import SCORES


@pytest.fixture
def read():
    """`read(name, directory, **options)` -> a benchmark whose scores and judge exist."""

    def open_benchmark(name, directory, **options):
        benchmark = BENCHMARKS[name](directory, **options)
        assert benchmark.name == name and {*benchmark.scores} <= {*SCORES}
        assert benchmark.judge in (*JUDGES, "") and benchmark.samples
        return benchmark

    return open_benchmark
