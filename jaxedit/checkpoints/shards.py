"""The weights of a directory: one safetensors file, or several with an index of what lies where.

model.safetensors                        or, above `SHARD_BYTES`,
model-00001-of-00004.safetensors ...     the shards, and
model.safetensors.index.json             {"metadata": {"total_size"}, "weight_map": {name: shard}}
"""

import json
import math
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from jaxedit.checkpoints import safetensors_file
from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.progress import progress_bar

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"[\w.-]+\.safetensors")  # the only names that are read: beside the index
SHARD_BYTES = 5_000_000_000  # of one file, as on the Hub


def exist(directory: epath.Path) -> bool:
    """Whether weights lie in the directory."""
    return (directory / WEIGHTS).exists() or (directory / INDEX).exists()


def files_of(directory: epath.Path) -> list[epath.Path]:
    """The files of the weights, in order; a single file goes before an index.

    Raises:
      FileNotFoundError: there are none.
      ValueError: the index is damaged or names a file elsewhere.
    """
    if (directory / WEIGHTS).exists() or not (directory / INDEX).exists():
        return [directory / WEIGHTS]
    return [directory / name for name in sorted(set(_read_index(directory / INDEX).values()))]


def read(directory: epath.Path) -> dict[str, LazyTensor]:
    """Every array of the weights, not read yet.

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
        differ = sorted(name for name, _ in found ^ set(_read_index(index).items()))
        if differ:
            raise ValueError(f"{index}: does not say what the shards hold: {', '.join(differ)}")
    return stored


def write(
    directory: epath.Path,
    arrays: Mapping[str, Any],
    dtypes: Mapping[str, np.dtype],
    *,
    show_progress: bool = False,
) -> None:
    """Write the weights, in shards if they are large.

    Args:
      directory: holds no weights yet.
      arrays: by name, see `safetensors.write`.
      dtypes: of each in the files.
      show_progress: on stderr.

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
            kinds = {name: dtypes[name] for name in names}
            safetensors_file.write(directory / shard, part, dtypes=kinds, on_write=bar.update)
            weight_map |= dict.fromkeys(names, shard)
    if len(groups) == 1:
        return
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def require_room(
    directory: epath.Path, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype]
) -> None:
    """Raise OSError unless the disk of a local directory has room for these arrays."""
    if isinstance(directory, pathlib.Path):
        needed = sum(nbytes(shape, dtypes[name]) for name, shape in shapes.items())
        free = shutil.disk_usage(directory).free
        if needed > free:
            raise OSError(f"{needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free on that disk")


def split(sizes: Mapping[str, int]) -> list[list[str]]:
    """Names in groups of at most `SHARD_BYTES`; one that is larger has a group to itself."""
    groups: list[list[str]] = [[]]
    total = 0
    for name, size in sizes.items():
        if groups[-1] and total + size > SHARD_BYTES:
            groups.append([])
            total = 0
        groups[-1].append(name)
        total += size
    return groups


def nbytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of an array in a file."""
    return math.prod(shape) * np.dtype(dtype).itemsize


def _read_index(path: epath.Path) -> dict[str, str]:
    """Name of each array to its shard, a file of the same directory."""
    try:
        weight_map = json.loads(path.read_text("utf-8"))["weight_map"]
        pairs = {str(name): str(shard) for name, shard in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: expected an index with a weight_map of names") from error
    strange = sorted({shard for shard in pairs.values() if not SHARD.fullmatch(shard)})
    if strange or not pairs:
        raise ValueError(f"{path}: expected names of files beside it, found {strange}")
    return pairs
