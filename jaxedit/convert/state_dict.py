"""The weights in a release, by their PyTorch names, wherever they lie in it.

A release is one file (`.pt`, `.pth`, `.bin`, `.ckpt`, `.safetensors`) or a directory of shards with
an index; and inside a file of a training run the weights lie some dicts deep.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

from jaxedit.convert import safetensors, torch_file
from jaxedit.convert.stored import Stored

TORCH = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (*TORCH, ".safetensors")
INDEX = ".index.json"
MAX_JSON = 1 << 26  # bytes
# Keys under which training programs save the weights, and the moving average of them.
LIVE = ("model", "module", "state_dict", "vae", "trainer", "gpt_fsdp")
AVERAGE = ("ema", "model_ema", "gpt_ema_fsdp")
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
    """

    arrays: dict[str, Stored]
    settings: dict[str, Any]
    where: str


def open_state(path: epath.PathLike, *, ema: bool = False) -> StateDict:
    """Find the weights in a file, or in a directory that holds one model.

    Args:
      path: local or `gs://`.
      ema: take the moving average of the weights instead of the weights.

    Raises:
      ValueError: a damaged or unsafe file, no weights or more than one model; says what is there.
      OSError: nothing is there, or it cannot be read.
    """
    path = epath.Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or directory")
    model = _only_model(path) if path.is_dir() else path
    files = _shards(model) if model.name.endswith(INDEX) else {model: None}
    arrays: dict[str, Stored] = {}
    settings: dict[str, Any] = {}
    for file, expected in files.items():
        found = _read(file, ema=ema)
        missing = sorted({WRAPPERS.sub("", n) for n in expected or ()} - found.arrays.keys())
        if missing:
            raise ValueError(f"{file}: has no {', '.join(missing)}, which {model.name} expects")
        _add(arrays, found.arrays, file)
        settings |= found.settings
    return StateDict(arrays, settings or _json(model.parent / "config.json"), str(path))


def _only_model(directory: epath.Path) -> epath.Path:
    """The index, or the only weights file, of a directory."""
    files = {file.name: file for file in directory.iterdir() if file.name[0] != "."}
    indexes = [name for name in files if name.endswith(INDEX)]
    shards = {shard.name for name in indexes for shard in _shards(files[name])}
    models = [n for n in files if n.endswith(SUFFIXES) and n not in shards] + indexes
    # The Hub often keeps one model in both formats, under these names.
    if any(name.startswith("model.safetensors") for name in models):
        models = [name for name in models if not name.startswith("pytorch_model.bin")]
    if len(models) != 1:
        there = f": {', '.join(sorted(models))}; name one of them" if models else ""
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
        if not plain or not name.endswith(SUFFIXES):
            raise ValueError(f"{index}: refused: {str(name)[:100]!r} is no weights file beside it")
        shards.setdefault(index.parent / name, []).append(array)
    return shards


def _read(file: epath.Path, *, ema: bool) -> StateDict:
    """The weights in one file."""
    if file.suffix == ".safetensors":
        content: Any = safetensors.read_stored(file)
    elif file.suffix in TORCH:
        content = torch_file.read_index(file)
    else:
        raise ValueError(f"{file}: expected a file ending in {', '.join(SUFFIXES)}")
    arrays: dict[str, Stored] = {}
    for name, array in _unwrap(content, file, ema=ema).items():
        if isinstance(array, Stored) and isinstance(name, str):
            if not name.isprintable():
                raise ValueError(f"{file}: {name[:50]!r} is no name of weights")
            _add(arrays, {WRAPPERS.sub("", name): array}, file)
    run = content.get("args")
    return StateDict(arrays, dict(run) if isinstance(run, dict) else {}, str(file))


def _unwrap(content: Any, file: epath.Path, *, ema: bool) -> Mapping[str, Any]:
    """The innermost dict on the way along the known keys."""
    keys = (*AVERAGE, *LIVE) if ema else (*LIVE, *AVERAGE)
    way: list[str] = []
    while isinstance(content, dict):
        inner = next((key for key in keys if isinstance(content.get(key), dict)), None)
        if inner is None or len(way) == len(keys):
            break
        way.append(inner)
        content = content[inner]
    if not isinstance(content, dict) or not any(isinstance(v, Stored) for v in content.values()):
        keys = list(content)[:20] if isinstance(content, dict) else [type(content).__name__]
        inside = f" under {'/'.join(way)}" if way else ""
        shown = ", ".join(ascii(str(key)[:50])[1:-1] for key in keys) or "nothing"
        raise ValueError(f"{file}: found no weights{inside}, but {shown}")
    if ema and not set(way) & set(AVERAGE):
        raise ValueError(f"{file}: holds no moving average of weights ({', '.join(AVERAGE)})")
    return content


def _add(arrays: dict[str, Stored], more: Mapping[str, Stored], file: epath.Path) -> None:
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
