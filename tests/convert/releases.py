"""Files of a release's kinds, keys and shapes, made without PyTorch, of any size."""

import pathlib

import numpy as np
import torch_writer

from jaxedit import assets, tree
from jaxedit.checkpoints import pretrained
from jaxedit.config import PretrainedConfig, family_of
from jaxedit.convert.detect import KINDS, keymap_module
from jaxedit.convert.keymaps.keymap import to_torch

NESTING = {"bsq": "vae", "vq": "model"}  # key under which a release keeps its arrays


def kinds_of(config: PretrainedConfig) -> list[str]:
    """Return the kinds of a model's files: image tokenizer, transformer and text encoder."""
    names = {"transformer": config.model_type}
    networks = family_of(config).networks
    return [names.get(network, network) for network in networks if network != "null"]


def write(
    kind: str, config: PretrainedConfig, directory: pathlib.Path, *, seed: int | None = None
) -> pathlib.Path:
    """Write all arrays of a kind in float32 under their published names.

    Args:
      kind: a name of `KINDS` that the model has.
      config: of the model.
      directory: where the file goes; a text encoder gets a folder with the toy tokenizer.
      seed: of normal numbers; None: zeros, as holes in the file.

    Returns:
      The file or folder.
    """
    prefix, networks = KINDS[kind].prefix, KINDS[kind].networks
    params = {
        path.removeprefix(prefix): np.broadcast_to(np.float32(0), leaf.shape)
        for path, leaf in tree.flatten(pretrained.abstract_params(config)).items()
        if path.split("/")[0] in networks
    }
    arrays = {
        key: torch_writer.Virtual(
            view.shape, np.dtype("float32"), None if seed is None else seed + n
        )
        for n, (key, view) in enumerate(to_torch(keymap_module(kind).KEYMAP, params).items())
    }
    content = {NESTING[kind]: arrays} if kind in NESTING else arrays
    if kind != "t5":
        torch_writer.save(directory / f"{kind}.pth", content)
        return directory / f"{kind}.pth"
    folder = directory / "t5"
    folder.mkdir()
    torch_writer.save(folder / "pytorch_model.bin", content)
    for path in (assets.ROOT / "toy-tokenizer").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
