"""The tiny model as a release."""

import shutil

import pytest
import torch_writer
from safetensors.numpy import load_file

from jaxedit.convert.export import export

PARTS = ("varedit", "bsq", "t5")


@pytest.fixture(scope="session")
def release(tiny_model, tmp_path_factory):
    """Two .pth files, and a directory with the text encoder."""
    folder = tmp_path_factory.mktemp("release")
    export(tiny_model, folder / "exported", None, say=lambda line: None)
    states = {kind: load_file(folder / f"exported/{kind}.safetensors") for kind in PARTS}
    torch_writer.save(folder / "transformer.pth", states["varedit"])
    torch_writer.save(folder / "vae.pth", {"vae": states["bsq"], "step": 3})
    (folder / "t5").mkdir()
    torch_writer.save(folder / "t5/pytorch_model.bin", states["t5"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, folder / "t5" / name)
    return folder


@pytest.fixture
def states(release):
    """The state dicts of the release, by kind."""
    return {kind: load_file(release / f"exported/{kind}.safetensors") for kind in PARTS}
