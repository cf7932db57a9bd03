"""The weights in a release, by their PyTorch names.

A release is a file of PyTorch or safetensors, of any name, or a directory of shards with an index.
In the file of a training run the weights lie some dicts deep, beside other values.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from jaxedit.checkpoints import contents, safetensors_file, shards
from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.convert.prefixes import AVERAGES, weights_of
from jaxedit.convert.scaled import unscale
from jaxedit.convert.torch_reader import torch_file
from jaxedit.convert.torch_reader.inert import Inert, plain, refusal

INDEX = ".index.json"
MAX_JSON = 1 << 26  # bytes
LISTED = 10  # files in a message
MAX_DEPTH = 3  # of dicts around the weights
# Keys under which training programs save the weights; for the moving average see `AVERAGES`.
LIVE = (
    *("model", "module", "state_dict", "vae", "trainer", "gpt_fsdp"),
    *("model_state_dict", "net", "network", "params"),
)
PIECE = re.compile(r".*-(\d+)-of-(\d+)\.\w+")  # name of a shard
# Parts of names that wrappers of modules add; inside a name, "module" may be a real module.
WRAPPERS = re.compile(
    r"^(?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+"
    r"|(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)


class StateDict(NamedTuple):
    """The weights of a release.

    Attributes:
      arrays: by PyTorch name, not read yet.
      settings: of the run (its `args`), else of `config.json` beside the file, else {}.
      is_average: whether the arrays are the moving average of the weights.
    """

    arrays: dict[str, LazyTensor]
    settings: dict[str, Any]
    is_average: bool


class NoAverage(ValueError):
    """A release with weights, but without their moving average."""


def open_state(path: epath.PathLike, *, ema: bool = False) -> StateDict:
    """Find the weights in a file, or in a directory that holds one model.

    Args:
      path: local or `gs://`.
      ema: take the moving average of the weights instead of the weights.

    Raises:
      NoAverage: `ema` is set, but there is no average.
      ValueError: a damaged or unsafe file, no weights, or several models; lists them.
      OSError: there is no such file, or it cannot be read.
    """
    path = epath.Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or directory")
    model = _only_model(path) if path.is_dir() else path
    arrays: dict[str, LazyTensor] = {}
    settings: dict[str, Any] = {}
    is_average = False
    for file, expected in _files_of(model).items():
        found = _read(file, ema=ema)
        missing = sorted({WRAPPERS.sub("", n) for n in expected} - found.arrays.keys())
        if missing:
            raise ValueError(f"{file}: has no {', '.join(missing)}, which {model.name} expects")
        _add(arrays, found.arrays, file)
        settings |= found.settings
        is_average |= found.is_average
    try:
        weights, has_prefix = weights_of(unscale(arrays), ema=ema)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    is_average |= has_prefix
    if ema and not is_average:
        raise NoAverage(f"{path}: holds no moving average of weights ({', '.join(AVERAGES)})")
    return StateDict(weights, settings or _settings_beside(model), is_average)


def _only_model(directory: epath.Path) -> epath.Path:
    """Return the index, or the only weights file, of a directory."""
    files = {file.name: file for file in directory.iterdir() if file.name[0] != "."}
    indexes = [name for name in files if name.endswith(INDEX)]
    parts = {part.name for name in indexes for part in _files_of(files[name])}
    models = [n for n in files if n.endswith(contents.SUFFIXES) and n not in parts] + indexes
    # The Hub often keeps one model in both formats, under these names.
    if any(name.startswith("model.safetensors") for name in models):
        models = [name for name in models if not name.startswith("pytorch_model.bin")]
    if len(models) == 1:
        return files[models[0]]
    partial = [name for name in files if contents.partial_suffix(name)]
    there = f": {_listed(models)}; name one of them" if models else ""
    if not models and partial:
        there = f", but incomplete downloads: {_listed(partial)}"
    raise ValueError(f"{directory}: expected one model, found {len(models)}{there}")


def _files_of(model: epath.Path) -> dict[epath.Path, list[str]]:
    """Return the files of a model, each with the arrays that its index expects in it."""
    if not model.name.endswith(INDEX):
        if (piece := PIECE.fullmatch(model.name)) and int(piece[2]) > 1:
            raise ValueError(
                f"{model}: piece {int(piece[1])} of {int(piece[2])}: expected the folder with all "
                f"of them and their index (NAME{INDEX})"
            )
        return {model: []}
    files: dict[epath.Path, list[str]] = {}
    for array, name in shards.read_index(model).items():
        files.setdefault(model.parent / name, []).append(array)
    absent = [file.name for file in files if not file.exists()]
    if absent:
        raise FileNotFoundError(
            f"{model}: {len(absent)} of {len(files)} files are missing beside it: {_listed(absent)}"
        )
    return files


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:LISTED]) + ", ..." * (len(names) > LISTED)


def _read(file: epath.Path, *, ema: bool) -> StateDict:
    """Return the weights in a file of any format."""
    try:
        content = _content(file)
    except ValueError as error:
        suffix = contents.partial_suffix(file.name)
        if not suffix:
            raise
        reason = str(error).removeprefix(f"{file}: ")
        raise ValueError(f"{file}: an incomplete download ({suffix}): {reason}") from error
    found, way = _unwrap(content, file, ema=ema)
    arrays: dict[str, LazyTensor] = {}
    refused = []
    for name, value in found.items():
        if isinstance(value, LazyTensor) and isinstance(name, str):
            if not name.isprintable():
                raise ValueError(f"{file}: {name[:50]!r} is no name of weights")
            _add(arrays, {WRAPPERS.sub("", name): value}, file)
        elif isinstance(value, Inert) and _is_weight(name, value):
            refused.append(value)
    if refused:
        raise ValueError(f"{file}: {refusal(refused)}")
    run = plain(content.get("args"))
    settings = run if isinstance(run, dict) else {}
    return StateDict(arrays, settings, bool(set(way) & set(AVERAGES)))


def _content(file: epath.Path) -> Any:
    """Return the object in a file; the format is told by the content, not by the name."""
    with file.open("rb") as opened:
        start = opened.read(9)
    is_torch = start.startswith((contents.ZIP, torch_file.LEGACY[:9]))
    is_safetensors = start[8:] == b"{" or file.suffix == ".safetensors"
    if is_safetensors and not is_torch:
        return safetensors_file.read_stored(file)
    return torch_file.read_index(file)


def _is_weight(key: Any, value: Inert) -> bool:
    """Return whether a value of an unknown class is a weight: by its name, or by a tensor in it."""
    *modules, name = key.split(".") if isinstance(key, str) else ("",)
    is_named = name in ("weight", "bias") or (bool(modules) and name != "_extra_state")
    return is_named or torch_file.is_tensor(value)


def _unwrap(
    content: Any, file: epath.Path, *, ema: bool
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the innermost dict with weights that known keys lead to, and those keys."""
    keys = (*AVERAGES, *LIVE) if ema else (*LIVE, *AVERAGES)
    ways = list(_ways(content, keys))
    for found, way in ways:
        if any(isinstance(value, LazyTensor) for value in found.values()):
            return found, way
    inner, way = ways[0] if ways else ({}, ())
    values = [value for value in inner.values() if isinstance(value, Inert)]
    shown = ", ".join(ascii(str(key)[:50])[1:-1] for key in list(inner)[:20]) or "nothing"
    inside = f" under {'/'.join(way)}" if way else ""
    reason = f"; {refusal(values)}" if values else ""
    kind = "a single tensor" if isinstance(content, LazyTensor) else type(content).__name__
    there = shown if isinstance(content, dict) else kind
    raise ValueError(f"{file}: found no weights{inside}, but {there}{reason}")


def _ways(
    content: Any, keys: tuple[str, ...], way: tuple[str, ...] = ()
) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Yield each dict that known keys lead to, with these keys; inner dicts come first."""
    if not isinstance(content, dict) or len(way) > MAX_DEPTH:  # a dict may contain itself
        return
    for key in keys:
        yield from _ways(content.get(key), keys, (*way, key))
    yield content, way


def _add(arrays: dict[str, LazyTensor], more: Mapping[str, LazyTensor], file: epath.Path) -> None:
    """Add arrays of a file; ValueError if a name is there already."""
    twice = sorted(arrays.keys() & more.keys())
    if twice:
        raise ValueError(f"{file}: there twice: {', '.join(twice)}")
    arrays |= more


def _settings_beside(model: epath.Path) -> dict[str, Any]:
    """Return the dict of the `config.json` beside a model; {} without such a file."""
    path = model.parent / "config.json"
    if not path.exists():
        return {}
    with path.open("rb") as file:
        text = file.read(MAX_JSON + 1)
    try:
        content = json.loads(text) if len(text) <= MAX_JSON else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON dict of at most {MAX_JSON} bytes")
    return content
