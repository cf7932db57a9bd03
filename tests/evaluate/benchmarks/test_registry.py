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


def test_unknown_options_are_named(tmp_path):
    with pytest.raises(ConfigError, match="lang: expected an option of this benchmark: none"):
        BENCHMARKS["pie-bench"](tmp_path, lang="en")


def test_readers_are_imported_when_called():
    code = "import sys, jaxedit.evaluate.benchmarks.registry; print('pyarrow' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "False", out.stderr
