"""Convert released weights to a pretrained directory, reading and writing a layer at a time."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from jaxedit import tree
from jaxedit.checkpoints import hub, pretrained, shards
from jaxedit.config import OFFICIAL, PretrainedConfig, from_dict, official, require, to_dict
from jaxedit.convert.combine import combine
from jaxedit.convert.network_checkpoint import NetworkCheckpoint, open_networks
from jaxedit.data.text_tokenizer import FILES

RECORD = "conversion.json"  # in the directory: what it was made from


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """What to convert, and to what.

    Attributes:
      src: files, directories, official names and places on the Hub, of one model.
      dst: directory to write, local or gs://.
      dtype: of the weights, see `pretrained.write_pretrained`.
      kind: what every source must hold; "auto" takes whatever it is.
      settings: official name, or model of ours, from which the settings of inference come.
      tokenizer: directory of the text tokenizer; empty: where the text encoder lies.
      ema: take the moving average of a training run's weights, of every part that has one.
      overwrite: replace another model at `dst`.
    """

    src: tuple[str, ...]
    dst: str
    dtype: str = "bfloat16"
    kind: str = "auto"
    settings: str = ""
    tokenizer: str = ""
    ema: bool = False
    overwrite: bool = False


def convert(order: ConversionConfig, say: Callable[[str], Any] = print) -> hub.Directory:
    """Do it, unless it was done before from the same files.

    Returns:
      The directory.

    Raises:
      ConfigError: the sources make no model, or something else is wrong with the order.
      ValueError: a file is damaged, is none that is known, or holds values that are not finite.
      OSError: a file is missing, the Hub or the disk failed, or `dst` holds something else.
    """
    target = pretrained.absolute_path(order.dst)
    if target.exists() and not pretrained.is_pretrained(target) and not pretrained.is_empty(target):
        raise FileExistsError(f"{target}: exists and is not a model of ours")
    paths, settings = gather(order)
    parts = [part for path in paths for part in open_networks(path, kind=order.kind, ema=order.ema)]
    config, origin = combine(parts, settings)
    if order.ema:
        say(_averages(parts))
    record = _record(order, parts, to_dict(config))
    if _is_done(target, record, overwrite=order.overwrite):
        say(f"{target}: complete already, from the same files")
        return target
    for part in parts:
        say(f"{part.where}: {part.kind}, {len(part.arrays)} arrays")
    if origin:
        say(f"settings of inference: {origin}")
    flat = tree.flatten(pretrained.abstract_params(config))
    shapes = {path: leaf.shape for path, leaf in flat.items()}
    arrays = {path: a for part in parts for path, a in part.parameters(shapes).items()}
    written = pretrained.write_pretrained(
        target,
        config,
        arrays,
        tokenizer_of(order, parts),
        dtype=order.dtype,
        sources=[part.source for part in parts],
        notes={RECORD: json.dumps(record, indent=1) + "\n"},
        show_progress=True,
    )
    count = sum(math.prod(shape) for shape in shapes.values())
    say(f"{written}: {count:,} parameters written")
    say(f"look at them: python -m jaxedit.convert --check {written}")
    return written


def _averages(parts: Sequence[NetworkCheckpoint]) -> str:
    """Which parts are moving averages, and which have none.

    Raises:
      ConfigError: none of them is.
    """
    others = ", ".join(str(part.where) for part in parts if not part.is_average)
    averages = ", ".join(part.kind for part in parts if part.is_average)
    require(bool(averages), f"{others}: holds no moving average of weights (--ema)")
    rest = f"; of {others}, which holds none, the weights as they are" if others else ""
    return f"moving average of {averages}{rest}"


def gather(order: ConversionConfig) -> tuple[list[hub.Directory], str]:
    """Where all sources lie, fetched if need be, and the name that the settings come from.

    Raises:
      OSError: a source is not there; for an official name, with all that it takes.
    """
    paths, settings = [], order.settings
    for text in order.src:
        if text not in OFFICIAL or epath.Path(text).exists():
            paths.append(hub.locate(text))
            continue
        release = official(text)
        try:
            paths += [hub.fetch_source(source) for source in release.sources]
        except OSError as error:
            raise FileNotFoundError(f"{text}: {error}; {hub.how_to_bring(text)}") from error
        if release.sources[1:]:
            settings = settings or text
    return paths, settings


def tokenizer_of(
    order: ConversionConfig, parts: Sequence[NetworkCheckpoint]
) -> hub.Directory | str | None:
    """The directory of the text tokenizer, if the model has one."""
    if order.tokenizer:
        return order.tokenizer
    texts = [part.where for part in parts if part.kind in ("t5", "clip")]
    for where in texts:
        directory = where if where.is_dir() else where.parent
        if any((directory / name).exists() for name in FILES):
            return directory
        require(
            len(parts) == 1,
            f"{directory}: expected {' or '.join(FILES)} beside the text encoder, or --tokenizer",
        )
    return None


def _record(
    order: ConversionConfig, parts: Sequence[NetworkCheckpoint], config: dict[str, Any]
) -> dict[str, Any]:
    """What a conversion depends on, as JSON values."""
    files = sorted({file for part in parts for file in part.files})
    return {
        "files": [[str(file), *_stamp(file)] for file in files],
        "dtype": order.dtype,
        "ema": order.ema,
        "tokenizer": order.tokenizer,
        "config": config,
    }


def _stamp(file: hub.Directory) -> tuple[int, float]:
    """Size and time of change."""
    stat = epath.Path(file).stat()
    return stat.length, float(stat.mtime)


def _is_done(target: hub.Directory, record: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether a complete conversion of the same files is there.

    Raises:
      FileExistsError: another model is there, and is not to be overwritten.
    """
    if not pretrained.is_pretrained(target) or not shards.exist(target):
        return False
    try:
        found = json.loads((target / RECORD).read_text("utf-8"))
        # An earlier version did not have every setting.
        found["config"] = to_dict(from_dict(PretrainedConfig, found["config"]))
    except (OSError, ValueError, TypeError, KeyError):
        found = None
    if found == record:
        return True
    if not overwrite:
        raise FileExistsError(f"{target}: holds another model; --overwrite replaces it")
    return False
