"""Benchmarks by name."""

import subprocess
import sys

import pytest

from jaxedit.config import ConfigError
from jaxedit.config.family import load
from jaxedit.evaluate.benchmarks.registry import BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_names_lead_to_readers(name):
    assert load(f"jaxedit.evaluate.benchmarks.{BENCHMARKS[name].place}").__doc__


def test_wrong_options_are_named(tmp_path):
    with pytest.raises(ConfigError, match="--option=lang=en: expected no option"):
        BENCHMARKS["pie-bench"](tmp_path, lang="en")
    with pytest.raises(ConfigError, match="--option=seeds=1: expected count, seed, level"):
        BENCHMARKS["toybox"](tmp_path, seeds=1)
    with pytest.raises(ConfigError, match="--option=count=few: expected int"):
        BENCHMARKS["toybox"](tmp_path, count="few")


def test_readers_are_imported_when_called():
    code = "import sys, jaxedit.evaluate.benchmarks.registry; print('pyarrow' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "False", out.stderr
