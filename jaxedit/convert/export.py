"""The export of a pretrained directory to the files of its release, as safetensors."""

import json
import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxedit.atomic_write import atomic_write_directory
from jaxedit.checkpoints import pretrained, safetensors_file
from jaxedit.config import PretrainedConfig, family_of
from jaxedit.convert.detect import KINDS, keymap_module
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.convert.keymaps.keymap import to_torch
from jaxedit.convert.network_checkpoint import open_networks
from jaxedit.progress import progress_bar


def export(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    dtype: str | None,
    say: Callable[[str], Any] = print,
) -> None:
    """Write a file per kind of network: varedit.safetensors, bsq.safetensors, t5.safetensors.

    A config.json beside them holds the settings that shapes do not tell: `convert` reads them.

    Args:
      src: name or directory of a model.
      dst: local directory, new or empty; appears only once it is complete.
      dtype: of the files; None keeps the dtype of the weights.
      say: takes a line for each file.

    Raises:
      ValueError: the model is damaged, or a value is not finite.
      FileExistsError: there is something at `dst`.
      OSError: a file cannot be read or written.
    """
    target = pretrained.absolute_path(dst)
    if target.exists() and not pretrained.is_empty(target):
        raise FileExistsError(f"{target}: exists; expected a new directory for the exported files")
    parts = open_networks(ensure_converted(src))
    with atomic_write_directory(target) as new:
        for part in parts:
            prefix = KINDS[part.kind].prefix
            params = {path.removeprefix(prefix): array for path, array in part.arrays.items()}
            state = to_torch(keymap_module(part.kind).KEYMAP, params)
            dtypes = {key: np.dtype(jnp.dtype(dtype or a.dtype)) for key, a in state.items()}
            file = f"{part.kind}.safetensors"
            total = sum(safetensors_file.nbytes(a.shape, dtypes[k]) for k, a in state.items())
            with progress_bar(part.kind, total, unit="B") as bar:
                safetensors_file.write(new / file, state, dtypes=dtypes, on_write=bar.update)
            say(f"{target / file}: {len(state)} arrays")
        text = json.dumps(settings_of(parts[0].model), indent=1) + "\n"
        (new / "config.json").write_text(text, encoding="utf-8")


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the settings that shapes do not tell, under the names of the releases."""
    settings: dict[str, Any] = {}
    for part in family_of(config).parts:
        if part in KINDS and (tell := getattr(keymap_module(part), "settings_of", None)):
            settings |= tell(config)
    return settings
