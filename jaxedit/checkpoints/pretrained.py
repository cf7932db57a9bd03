"""Pretrained directories: the weights of a model and all settings that running it needs.

config.json         PretrainedConfig, and the version of jaxedit that wrote it
model*.safetensors  all parameters by '/'-path, see `shards`; the first component is the network
tokenizer.json ...  the text tokenizer (of models with a text encoder)
README.md           the model card
"""

import contextlib
import json
import os
import pathlib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import __version__, assets, tree
from jaxedit.assets import AnyPath
from jaxedit.atomic_write import atomic_write_directory
from jaxedit.checkpoints import safetensors_file, shards
from jaxedit.checkpoints.hub import resolve, tokenizer_home
from jaxedit.checkpoints.lazy_tensor import LazyTensor, Shape
from jaxedit.checkpoints.model_card import model_card
from jaxedit.checkpoints.networks import abstract_params
from jaxedit.config import (
    ConfigError,
    PretrainedConfig,
    WeightSource,
    family_of,
    from_dict,
    require,
    to_dict,
)
from jaxedit.config.precision import dtype_of
from jaxedit.data.text_tokenizer import TextTokenizer

CONFIG, CARD = "config.json", "README.md"
DTYPES = ("float32", "bfloat16", "float16")


def write_pretrained(
    directory: str | os.PathLike,
    config: PretrainedConfig,
    arrays: Mapping[str, Any],
    tokenizer: str | os.PathLike | None = None,
    *,
    dtype: str = "bfloat16",
    sources: Sequence[WeightSource] = (),
    notes: Mapping[str, str] = types.MappingProxyType({}),
    show_progress: bool = False,
) -> AnyPath:
    """Write a pretrained directory, piece by piece; at most one layer is in memory.

    An earlier directory is replaced only once the new one is complete. On gs://, which cannot
    rename, the files are overwritten; config.json is written last and marks the model as complete.

    Args:
      directory: to create or replace, local or gs://.
      arrays: parameters by path, see `safetensors_file.write`.
      tokenizer: name or directory of the text tokenizer; models with a text encoder need it.
      dtype: of the files: float32; float16; or bfloat16, which gives each parameter the dtype in
        which the released scripts hold it, see `config.precision`.
      sources: the files that the weights were converted from, for the model card.
      notes: name to text of further files in the directory.
      show_progress: on stderr.

    Returns:
      The directory, absolute.

    Raises:
      ConfigError: config, weights and tokenizer do not fit each other.
      ValueError: a weight is not finite.
      FileExistsError: something else than a pretrained directory is there.
      OSError: it cannot be written, for instance because the disk is full.
    """
    config.validate()
    require(dtype in DTYPES, f"dtype={dtype!r}: expected one of {', '.join(DTYPES)}")
    target = absolute_path(directory)
    require_replaceable(target)
    shapes = {path: tuple(array.shape) for path, array in arrays.items()}
    _require_fit(config, shapes, "the given parameters")
    files = _tokenizer_files(config, tokenizer)
    dtypes = {path: _dtype_in_file(path, config, dtype) for path in shapes}
    try:
        with _replacement(target) as new:
            shards.require_room(new, shapes, dtypes)
            shards.write(new, arrays, dtypes, show_progress=show_progress)
            for file in files:
                (new / file.name).write_bytes(file.read_bytes())
            card = model_card(target.name, config, shapes, dtypes, sources)
            (new / CARD).write_text(card, "utf-8")
            for name, text in notes.items():
                (new / name).write_text(text, "utf-8")
            _write_config(new, to_dict(config))
    except OSError as error:
        raise OSError(f"{target}: not written: {error.strerror or error}") from error
    return target


def save_pretrained(
    directory: str | os.PathLike,
    config: PretrainedConfig,
    params: tree.Tree,
    tokenizer: str | os.PathLike | None = None,
    *,
    dtype: str = "float32",
) -> AnyPath:
    """Write parameters that are in memory, {"bsq": ..., "transformer": ...}: `write_pretrained`."""
    return write_pretrained(directory, config, tree.flatten(params), tokenizer, dtype=dtype)


def load_pretrained(
    name: str | os.PathLike, networks: Sequence[str] | None = None
) -> tuple[PretrainedConfig, tree.Tree, AnyPath]:
    """Read networks of a pretrained directory: `open_params`, with numpy arrays.

    Raises:
      ValueError: also if a weight is not finite.
    """
    config, params, directory = open_params(name, networks)
    return config, jax.tree.map(np.asarray, params), directory


def open_params(
    name: str | os.PathLike, networks: Sequence[str] | None = None
) -> tuple[PretrainedConfig, tree.Tree, AnyPath]:
    """Open networks of a pretrained directory as trees of `LazyTensor`, read where they are used.

    Args:
      name: see `hub.resolve`.
      networks: such as "bsq", "transformer", "t5"; None: all.

    Returns:
      (config, {network: parameters in the file's dtype}, the directory).

    Raises:
      ConfigError: the config cannot work or does not fit the weights; lists the differences.
      ValueError: a file is damaged.
      OSError: a file is missing.
    """
    directory = resolve(name)
    config, stored = open_pretrained(directory)
    known = family_of(config).networks
    wanted = networks or known
    absent = sorted(set(wanted) - set(known))
    require(not absent, f"{directory}: a {config.model_type} model has no {', '.join(absent)}")
    params = {
        path: safetensors_file.check_finite(array, path)
        for path, array in stored.items()
        if path.split("/")[0] in wanted
    }
    return config, tree.unflatten(params), directory


def open_pretrained(directory: AnyPath) -> tuple[PretrainedConfig, dict[str, LazyTensor]]:
    """Return the settings and the arrays by path, checked to fit each other; see `open_params`."""
    config = read_config(directory)
    stored = shards.read(directory)
    safetensors_file.require_floats(stored, directory)
    _require_fit(config, {path: array.shape for path, array in stored.items()}, str(directory))
    return config, stored


def read_config(directory: AnyPath) -> PretrainedConfig:
    """Read the settings of a pretrained directory.

    Raises:
      ConfigError: config.json is damaged, belongs to another program, or cannot work.
    """
    path = directory / CONFIG
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(settings, dict) or "jaxedit" not in settings:
        raise ConfigError(f'{path}: expected the settings of a jaxedit model (a key "jaxedit")')
    del settings["jaxedit"]
    try:
        config = from_dict(PretrainedConfig, settings)
        config.validate()
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def is_pretrained(directory: AnyPath) -> bool:
    """Return whether a pretrained directory lies there, complete or interrupted."""
    try:
        return "jaxedit" in json.loads((directory / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def param_shapes(config: PretrainedConfig) -> dict[str, Shape]:
    """Return the shapes of all parameters, by path."""
    return {path: leaf.shape for path, leaf in tree.flatten(abstract_params(config)).items()}


def require_replaceable(target: AnyPath) -> None:
    """Raise FileExistsError unless `target` is absent, empty or a pretrained directory."""
    if target.exists() and not is_pretrained(target) and not is_empty(target):
        raise FileExistsError(f"{target}: exists and is not a pretrained directory")


def is_empty(directory: AnyPath) -> bool:
    """Return whether an empty directory is there."""
    return directory.is_dir() and not any(directory.iterdir())


def absolute_path(directory: str | os.PathLike) -> AnyPath:
    """Return the absolute path of a directory to write, local or on gs://.

    Raises:
      OSError: gs:// does not answer, or the package that reads it is missing.
    """
    if "://" in os.fspath(directory):
        return assets.remote(directory)
    return pathlib.Path(directory).expanduser().absolute()


def _require_fit(config: PretrainedConfig, found: Mapping[str, Shape], where: str) -> None:
    """Raise ConfigError, with all differences, unless shapes by path fit the config."""
    expected = param_shapes(config)
    differences = [
        *(f"missing {path} {expected[path]}" for path in sorted(expected.keys() - found.keys())),
        *(f"unexpected {path} {found[path]}" for path in sorted(found.keys() - expected.keys())),
        *(
            f"{path} is {found[path]}, expected {expected[path]}"
            for path in sorted(expected.keys() & found.keys())
            if found[path] != expected[path]
        ),
    ]
    require(not differences, f"{where} do not fit the config: {'; '.join(differences)}")


def _tokenizer_files(
    config: PretrainedConfig, tokenizer: str | os.PathLike | None
) -> list[AnyPath]:
    """Return the tokenizer's files.

    Raises:
      ConfigError: an editor has no tokenizer, or the tokenizer more ids than its text encoder.
    """
    part = next((n for n in family_of(config).networks if n in ("t5", "clip")), None)
    is_editor = part is not None and config.model_type != part
    require(tokenizer is not None or not is_editor, "tokenizer=None: an editor needs its tokenizer")
    if part is None or tokenizer is None:
        return []
    loaded = TextTokenizer.load(tokenizer_home(tokenizer))
    limit = getattr(config, part).vocab_size
    require(
        loaded.vocab_size <= limit,
        f"the tokenizer has {loaded.vocab_size} ids, but {part}.vocab_size={limit}",
    )
    return loaded.files


def _dtype_in_file(path: str, config: PretrainedConfig, dtype: str) -> np.dtype:
    if dtype == "bfloat16":
        dtype = dtype_of(path, config.model_type, dtype)
    return np.dtype(jnp.dtype(dtype))


@contextlib.contextmanager
def _replacement(target: AnyPath) -> Iterator[AnyPath]:
    """Yield a directory to write, which then becomes `target`; on gs:// it is `target` itself."""
    if isinstance(target, pathlib.Path):
        with atomic_write_directory(target) as new:
            yield new
        return
    target.mkdir(parents=True, exist_ok=True)
    _write_config(target, {})
    for file in target.glob("model*"):
        file.unlink()
    yield target


def _write_config(directory: AnyPath, settings: Mapping[str, Any]) -> None:
    text = json.dumps({"jaxedit": __version__, **settings}, indent=1) + "\n"
    (directory / CONFIG).write_text(text, "utf-8")
