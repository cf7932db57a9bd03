"""The weights of a directory: one safetensors file, or several with an index of their arrays.

model.safetensors                        or, above `SHARD_BYTES`,
model-00001-of-00004.safetensors ...     the shards, and
model.safetensors.index.json             {"metadata": {"total_size"}, "weight_map": {name: shard}}
"""

import json
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxedit.assets import AnyPath
from jaxedit.checkpoints import safetensors_file
from jaxedit.checkpoints.contents import SUFFIXES
from jaxedit.checkpoints.lazy_tensor import LazyTensor, Shape
from jaxedit.checkpoints.safetensors_file import nbytes
from jaxedit.progress import progress_bar

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000  # of a file, as on the Hub
MAX_INDEX = 1 << 26  # bytes


def exist(directory: AnyPath) -> bool:
    """Return whether weights lie in the directory."""
    return (directory / WEIGHTS).exists() or (directory / INDEX).exists()


def files_of(directory: AnyPath) -> list[AnyPath]:
    """Return the files of the weights, sorted; a single file is preferred to an index.

    Raises:
      ValueError: the index is damaged or names a file elsewhere.
    """
    if (directory / WEIGHTS).exists() or not (directory / INDEX).exists():
        return [directory / WEIGHTS]
    return [directory / name for name in sorted(set(read_index(directory / INDEX).values()))]


def read(directory: AnyPath) -> dict[str, LazyTensor]:
    """Return the arrays of the weights by name, not read yet.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: a file is damaged, or the index does not say what is in the files.
    """
    files = files_of(directory)
    contents = {file.name: safetensors_file.read_stored(file) for file in files}
    stored = {name: array for arrays in contents.values() for name, array in arrays.items()}
    if files[0].name != WEIGHTS:
        index = directory / INDEX
        found = {(name, shard) for shard, arrays in contents.items() for name in arrays}
        differ = sorted(name for name, _ in found ^ set(read_index(index).items()))
        if differ:
            raise ValueError(f"{index}: does not say what the shards hold: {', '.join(differ)}")
    return stored


def write(
    directory: AnyPath,
    arrays: Mapping[str, Any],
    dtypes: Mapping[str, np.dtype],
    *,
    show_progress: bool = False,
) -> None:
    """Write the weights, in shards if they are large.

    Args:
      directory: holds no weights yet.
      arrays: by name, see `safetensors_file.write`.
      dtypes: of the arrays in the files.

    Raises:
      ValueError: a value is not finite.
      OSError: a file cannot be written.
    """
    sizes = {name: nbytes(array.shape, dtypes[name]) for name, array in arrays.items()}
    groups = split(sizes)
    weight_map = {}
    total = sum(sizes.values())
    with progress_bar("writing", total, unit="B", disable=not show_progress) as bar:
        for i, names in enumerate(groups, 1):
            is_only = len(groups) == 1
            shard = WEIGHTS if is_only else f"model-{i:05}-of-{len(groups):05}.safetensors"
            part = {name: arrays[name] for name in names}
            safetensors_file.write(directory / shard, part, dtypes=dtypes, on_write=bar.update)
            weight_map |= dict.fromkeys(names, shard)
    if len(groups) == 1:
        return
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def require_room(
    directory: AnyPath, shapes: Mapping[str, Shape], dtypes: Mapping[str, np.dtype]
) -> None:
    """Raise OSError unless the disk of a local directory has room for these arrays."""
    if isinstance(directory, pathlib.Path):
        needed = sum(nbytes(shape, dtypes[name]) for name, shape in shapes.items())
        free = shutil.disk_usage(directory).free
        if needed > free:
            raise OSError(f"{needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free on that disk")


def split(sizes: Mapping[str, int]) -> list[list[str]]:
    """Group names so that a group has at most `SHARD_BYTES`, or a single larger array."""
    groups: list[list[str]] = [[]]
    total = 0
    for name, size in sizes.items():
        if groups[-1] and total + size > SHARD_BYTES:
            groups.append([])
            total = 0
        groups[-1].append(name)
        total += size
    return groups


def read_index(path: AnyPath) -> dict[str, str]:
    """Return the shard of each array; only files beside the index are accepted.

    Raises:
      ValueError: the index is damaged, large, or names a file elsewhere.
    """
    with path.open("rb") as file:
        text = file.read(MAX_INDEX + 1)
    try:
        if len(text) > MAX_INDEX:
            raise ValueError
        weight_map = json.loads(text)["weight_map"]
        shards = {str(name): str(shard) for name, shard in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f'{path}: expected JSON with a "weight_map" from arrays to files'
        ) from error
    if not shards:
        raise ValueError(f'{path}: an empty "weight_map": expected arrays and their files')
    for shard in shards.values():
        if not re.fullmatch(r"[\w-][\w.-]*", shard) or not shard.endswith(SUFFIXES):
            raise ValueError(f"{path}: refused: {shard[:100]!r} is no weights file beside it")
    return shards
