"""Pretrained directories: one holds the weights and every setting that running them needs.

config.json         PretrainedConfig, and the version of jaxedit that wrote it
model.safetensors   all parameters by '/'-path; the first component names the network
tokenizer.json ...  the text tokenizer (editors only)
README.md           the model card
"""

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import __version__, assets, rng, tree
from jaxedit.config import ConfigError, PretrainedConfig, from_dict, require, to_dict
from jaxedit.convert import safetensors
from jaxedit.data.text import TextTokenizer
from jaxedit.models import editar, vit
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.varedit import init_params
from jaxedit.models.vqgan import VQTokenizer

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
# model_type -> its networks; see also `networks_of`
NETWORKS = {
    "bsq": ("bsq",),
    "varedit": ("bsq", "transformer", "t5"),
    "editar": ("vq", "transformer", "null", "t5"),
    "vq": ("vq",),
    "vit": ("vit",),
}
TEXTLESS = ("bsq", "vq", "vit")  # model_types without a text tokenizer


def resolve(name: str | os.PathLike) -> pathlib.Path:
    """The directory of a bundled name or a path.

    Raises:
      FileNotFoundError: nothing is there, or it holds no config.json; lists the bundled names.
    """
    return assets.locate(name, (CONFIG,))


def networks_of(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of a model's networks; one with classes in place of text has fewer."""
    if config.model_type == "editar" and config.editar.prefix == "class":
        return ("vq", "transformer")
    return NETWORKS[config.model_type]


def abstract_params(config: PretrainedConfig) -> tree.Tree:
    """Shapes of all parameters, by network: {"bsq": ..., "transformer": ..., "t5": ...}."""
    key = rng.key_for(0, "init")
    pixels, ids = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 2), jnp.int32)

    def bsq() -> tree.Tree:
        return BSQTokenizer(config.bsq).init(key, pixels)["params"]

    def transformer() -> tree.Tree:
        if config.model_type == "editar":
            return editar.init_params(config.editar, key)
        return init_params(config.varedit, key)

    def t5() -> tree.Tree:
        return T5Encoder(config.t5).init(key, ids, ids == 0)["params"]

    def vq() -> tree.Tree:
        pixels = jnp.zeros((1, config.vq.stride, config.vq.stride, 3))
        return VQTokenizer(config.vq).init(key, pixels)["params"]

    makers = {
        "bsq": bsq,
        "transformer": transformer,
        "t5": t5,
        "vq": vq,
        "vit": lambda: vit.init_params(config.vit, key),
        "null": lambda: editar.init_null(config.editar, key),
    }
    return {name: jax.eval_shape(makers[name]) for name in networks_of(config)}


def save_pretrained(
    directory: str | os.PathLike,
    config: PretrainedConfig,
    params: tree.Tree,
    tokenizer: str | os.PathLike | None = None,
    *,
    dtype: str = "float32",
) -> pathlib.Path:
    """Write a pretrained directory. An earlier one is replaced only once the new one is complete.

    Args:
      directory: to create or replace.
      config: what the weights are.
      params: {"bsq": ..., "transformer": ..., "t5": ...}, arrays that this process can read.
      tokenizer: name or directory of the text tokenizer; needed by editors.
      dtype: of the file, float32, bfloat16 or float16.

    Returns:
      The directory.

    Raises:
      ConfigError: config, weights and tokenizer do not fit each other.
      ValueError: a weight is not finite.
      FileExistsError: `directory` is something else than a pretrained directory.
    """
    config.validate()
    dtypes = ("float32", "bfloat16", "float16")
    require(dtype in dtypes, f"dtype={dtype!r}: expected one of {', '.join(dtypes)}")
    target = pathlib.Path(directory).expanduser().absolute()
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not is_one(target)):
        raise FileExistsError(f"{target}: exists and is not a pretrained directory")
    flat = {path: np.asarray(leaf) for path, leaf in tree.flatten(params).items()}
    _compare(config, {path: leaf.shape for path, leaf in flat.items()}, "the given parameters")
    files = _tokenizer_files(config, tokenizer)

    def write(new: pathlib.Path) -> None:
        weights = {path: leaf.astype(jnp.dtype(dtype)) for path, leaf in flat.items()}
        safetensors.write(new / WEIGHTS, weights)
        settings = {"jaxedit": __version__, **to_dict(config)}
        (new / CONFIG).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        (new / CARD).write_text(_card(config, target.name, flat), encoding="utf-8")
        for file in files:
            shutil.copyfile(file, new / file.name)

    _replace(target, write)
    return target


def load_pretrained(
    name: str | os.PathLike, networks: Sequence[str] | None = None
) -> tuple[PretrainedConfig, tree.Tree, pathlib.Path]:
    """Read a pretrained directory and check all of it.

    Args:
      name: bundled name or directory.
      networks: the ones to read ("bsq", "transformer", "t5"); None reads all.

    Returns:
      (config, {network: numpy parameters in the file's dtype}, the directory).

    Raises:
      ConfigError: the config cannot work, or does not fit the weights; lists what differs.
      ValueError: a file is damaged or a weight is not finite.
      OSError: a file is missing.
    """
    directory = resolve(name)
    config = read_config(directory)
    shapes = safetensors.read_shapes(directory / WEIGHTS)
    _compare(config, shapes, str(directory / WEIGHTS))
    wanted = networks or networks_of(config)
    absent = sorted(set(wanted) - set(networks_of(config)))
    require(not absent, f"{directory}: a {config.model_type} model has no {', '.join(absent)}")
    paths = [path for path in shapes if path.split("/")[0] in wanted]
    return config, tree.unflatten(safetensors.read(directory / WEIGHTS, paths)), directory


def read_config(directory: pathlib.Path) -> PretrainedConfig:
    """The validated settings of a pretrained directory.

    Raises:
      ConfigError: config.json is damaged, of another program, or cannot work.
    """
    path = directory / CONFIG
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
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


def is_one(directory: pathlib.Path) -> bool:
    """Whether a pretrained directory lies there."""
    return (directory / CONFIG).is_file() and (directory / WEIGHTS).is_file()


def _compare(config: PretrainedConfig, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    flat = tree.flatten(abstract_params(config))
    expected = {path: leaf.shape for path, leaf in flat.items()}
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
) -> list[pathlib.Path]:
    if config.model_type in TEXTLESS:
        return []
    require(tokenizer is not None, "tokenizer=None: an editor needs its text tokenizer")
    loaded = TextTokenizer.load(tokenizer)
    require(
        loaded.vocab_size <= config.t5.vocab_size,
        f"the tokenizer has {loaded.vocab_size} ids, but t5.vocab_size={config.t5.vocab_size}",
    )
    return loaded.files


def _replace(target: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
    new, old = (target.with_name(f".{target.name}.{kind}-{os.getpid()}") for kind in ("new", "old"))
    new.mkdir(parents=True)
    try:
        write(new)
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _card(config: PretrainedConfig, name: str, flat: Iterable[str]) -> str:
    networks = ", ".join(networks_of(config))
    use = (
        f'jaxedit.Editor.from_pretrained("{name}")'
        if config.model_type in ("varedit", "editar")
        else f'jaxedit.convert.pretrained.load_pretrained("{name}")'
    )
    return (
        "---\nlibrary_name: jaxedit\npipeline_tag: image-to-image\n---\n\n"
        f"# {name}\n\nA `{config.model_type}` model of jaxedit {__version__} ({networks}; "
        f"{len(list(flat))} arrays).\n`config.json` holds every setting.\n\n```python\n{use}\n```\n"
    )
