"""Write a model of ours as the files of its release: the original names, as safetensors."""

import json
import math
import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxedit.atomic_write import atomic_write_directory
from jaxedit.checkpoints import pretrained, safetensors_file
from jaxedit.config import PretrainedConfig, family_of
from jaxedit.config.families import BY_TYPE
from jaxedit.config.family import load
from jaxedit.convert.detect import KINDS
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
    """Write one file per kind of network: varedit.safetensors, bsq.safetensors, t5.safetensors.

    A config.json beside them says what no shape tells, so that `convert` reads them again.

    Args:
      src: name or directory of a model of ours.
      dst: local directory, new or empty; appears only once it is complete.
      dtype: of the files; None keeps that of the weights.
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
            state = to_torch(KINDS[part.kind].keymap, params)
            dtypes = {key: np.dtype(jnp.dtype(dtype or a.dtype)) for key, a in state.items()}
            file = f"{part.kind}.safetensors"
            total = sum(math.prod(a.shape) * dtypes[key].itemsize for key, a in state.items())
            with progress_bar(part.kind, total, unit="B") as bar:
                safetensors_file.write(new / file, state, dtypes=dtypes, on_write=bar.update)
            say(f"{target / file}: {len(state)} arrays")
        text = json.dumps(told(parts[0].model), indent=1) + "\n"
        (new / "config.json").write_text(text, encoding="utf-8")


def told(config: PretrainedConfig) -> dict[str, Any]:
    """What no shape tells of the networks, under the names of the releases' own settings."""
    settings: dict[str, Any] = {}
    for part in family_of(config).parts:
        if part in BY_TYPE and (tell := BY_TYPE[part].weights.tell):
            settings |= load(tell)(config)
    return settings
