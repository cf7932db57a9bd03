"""Fixtures of the tests of `python -m jaxedit`."""

import numpy as np
import pytest
from PIL import Image

from jaxedit import __main__ as command


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a directory with one photo in it."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


@pytest.fixture
def run(here, tiny_model, capsys):
    """Run the command with VAREdit; return (exit code, stdout, stderr)."""

    def call(*arguments):
        model = [] if "--from_png" in arguments else ["--model", str(tiny_model)]
        return command.main([*arguments, *model]), *capsys.readouterr()

    return call


@pytest.fixture
def run_editar(here, tiny_editar, capsys):
    """Run the command with EditAR; return (exit code, stdout, stderr)."""

    def call(*arguments):
        model = [] if "--from_png" in arguments else ["--model", str(tiny_editar)]
        return command.main([*arguments, *model]), *capsys.readouterr()

    return call
