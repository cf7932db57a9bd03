"""The weights in a release, by their PyTorch names, wherever they lie in it.

A release is one file of PyTorch or safetensors, whatever its name, or a directory of shards with an
index; and inside a file of a training run the weights lie some dicts deep, beside other things.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from jaxedit.checkpoints import contents, safetensors_file
from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.convert.prefixes import AVERAGES, weights_of
from jaxedit.convert.scaled import unscale
from jaxedit.convert.torch_reader import torch_file
from jaxedit.convert.torch_reader.inert import Inert, plain, refusal

INDEX = ".index.json"
MAX_JSON = 1 << 26  # bytes
LISTED = 10  # files in a message
MAX_DEPTH = 3  # of dicts around the weights
# Keys under which training programs save the weights; `AVERAGES` are those of the moving average.
LIVE = (
    *("model", "module", "state_dict", "vae", "trainer", "gpt_fsdp"),
    *("model_state_dict", "net", "network", "params"),
)
PIECE = re.compile(r".*-(\d+)-of-(\d+)\.\w+")  # of a model that is cut into files
# What wrappers of modules add to the names; inside, "module" may also be a module's own name.
WRAPPERS = re.compile(
    r"^(?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+"
    r"|(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)


class StateDict(NamedTuple):
    """What `open_state` found.

    Attributes:
      arrays: by PyTorch name, not read yet.
      settings: those of the run (its `args`), else those of `config.json` beside the file, else {}.
      where: the file or directory, for messages.
      is_average: whether the arrays are the moving average of the weights.
    """

    arrays: dict[str, LazyTensor]
    settings: dict[str, Any]
    where: str
    is_average: bool = False


class NoAverage(ValueError):
    """There are weights, but no moving average of them."""


def open_state(path: epath.PathLike, *, ema: bool = False) -> StateDict:
    """Find the weights in a file, or in a directory that holds one model.

    Args:
      path: local or `gs://`.
      ema: take the moving average of the weights instead of the weights.

    Raises:
      NoAverage: an average is asked for, and there is none.
      ValueError: a damaged or unsafe file, no weights or more than one model; says what is there.
      OSError: nothing is there, or it cannot be read.
    """
    path = epath.Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or directory")
    model = _only_model(path) if path.is_dir() else path
    is_index = model.name.endswith(INDEX)
    files = _shards(model) if is_index else {model: None}
    if not is_index and (piece := PIECE.fullmatch(model.name)) and int(piece[2]) > 1:
        raise ValueError(
            f"{model}: piece {int(piece[1])} of {int(piece[2])}: expected the folder with all of "
            f"them and their index (NAME{INDEX})"
        )
    arrays: dict[str, LazyTensor] = {}
    settings: dict[str, Any] = {}
    is_average = False
    for file, expected in files.items():
        found = _read(file, ema=ema)
        missing = sorted({WRAPPERS.sub("", n) for n in expected or ()} - found.arrays.keys())
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
    settings = settings or _json(model.parent / "config.json")
    return StateDict(weights, settings, str(path), is_average)


def _only_model(directory: epath.Path) -> epath.Path:
    """The index, or the only weights file, of a directory."""
    files = {file.name: file for file in directory.iterdir() if file.name[0] != "."}
    indexes = [name for name in files if name.endswith(INDEX)]
    shards = {shard.name for name in indexes for shard in _shards(files[name])}
    models = [n for n in files if n.endswith(contents.SUFFIXES) and n not in shards] + indexes
    # The Hub often keeps one model in both formats, under these names.
    if any(name.startswith("model.safetensors") for name in models):
        models = [name for name in models if not name.startswith("pytorch_model.bin")]
    if len(models) != 1:
        partial = [name for name in files if contents.partial_suffix(name)]
        shown = ", ".join(sorted(models)[:LISTED]) + ", ..." * (len(models) > LISTED)
        there = f": {shown}; name one of them" if models else ""
        if not models and partial:
            there = f", but incomplete downloads: {', '.join(sorted(partial)[:LISTED])}"
        raise ValueError(f"{directory}: expected one model, found {len(models)}{there}")
    return files[models[0]]


def _shards(index: epath.Path) -> dict[epath.Path, list[str]]:
    """The files that an index names, each with its arrays; they must lie beside the index."""
    names = _json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f'{index}: expected a "weight_map" from arrays to files')
    shards: dict[epath.Path, list[str]] = {}
    for array, name in names.items():
        plain = isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) and name[0] != "."
        if not plain or not name.endswith(contents.SUFFIXES):
            raise ValueError(f"{index}: refused: {str(name)[:100]!r} is no weights file beside it")
        shards.setdefault(index.parent / name, []).append(array)
    absent = sorted(shard.name for shard in shards if not shard.exists())
    if absent:
        raise FileNotFoundError(
            f"{index}: {len(absent)} of {len(shards)} files are missing beside it: "
            f"{', '.join(absent[:LISTED])}{', ...' * (len(absent) > LISTED)}"
        )
    return shards


def _read(file: epath.Path, *, ema: bool) -> StateDict:
    """The weights in one file, whose content, not its name, tells the format."""
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
    return StateDict(arrays, settings, str(file), bool(set(way) & set(AVERAGES)))


def _content(file: epath.Path) -> Any:
    with file.open("rb") as opened:
        start = opened.read(9)
    is_torch = start.startswith((contents.ZIP, torch_file.LEGACY[:9]))
    is_safetensors = start[8:] == b"{" or file.suffix == ".safetensors"
    if is_safetensors and not is_torch:
        return safetensors_file.read_stored(file)
    return torch_file.read_index(file)


def _is_weight(key: Any, value: Inert) -> bool:
    """Whether what is of an unknown class was a weight: by its name, or as it holds a tensor."""
    *modules, name = key.split(".") if isinstance(key, str) else ("",)
    is_named = name in ("weight", "bias") or (bool(modules) and name != "_extra_state")
    return is_named or torch_file.is_tensor(value)


def _unwrap(
    content: Any, file: epath.Path, *, ema: bool
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The innermost dict with weights on the way along the known keys, and that way."""
    keys = (*AVERAGES, *LIVE) if ema else (*LIVE, *AVERAGES)
    ways = list(_ways(content, keys))
    found = next(
        (way for way in ways if any(isinstance(v, LazyTensor) for v in way[0].values())), None
    )
    if found:
        return found
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
    """Every dict along the known keys with its way, the innermost of the first keys first."""
    if not isinstance(content, dict) or len(way) > MAX_DEPTH:  # it may lie in itself
        return
    for key in keys:
        yield from _ways(content.get(key), keys, (*way, key))
    yield content, way


def _add(arrays: dict[str, LazyTensor], more: Mapping[str, LazyTensor], file: epath.Path) -> None:
    twice = sorted(arrays.keys() & more.keys())
    if twice:
        raise ValueError(f"{file}: there twice: {', '.join(twice)}")
    arrays |= more


def _json(path: epath.Path) -> dict[str, Any]:
    """A JSON file's dict; an absent file is {}."""
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
