"""The conversion of released weights to a pretrained directory, one layer at a time."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from jaxedit.checkpoints import hub, pretrained, shards
from jaxedit.config import (
    OFFICIAL,
    PretrainedConfig,
    family_of,
    from_dict,
    official,
    require,
    to_dict,
)
from jaxedit.convert.combine import combine
from jaxedit.convert.network_checkpoint import (
    NetworkCheckpoint,
    join_files,
    open_networks,
)
from jaxedit.data.text_tokenizer import FILES

RECORD = "conversion.json"  # in the directory: files and settings of the conversion


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """The sources, the destination and the settings of a conversion.

    Attributes:
      src: files, directories, official names and "org/name/file" on the Hub, of one model.
      dst: directory to write, local or gs://.
      dtype: of the weights, see `pretrained.write_pretrained`.
      kind: of the network that each source must hold; "auto" accepts all kinds.
      settings: official name or pretrained directory with the settings of inference.
      tokenizer: directory of the text tokenizer; empty: beside the text encoder.
      ema: take the moving average of a training run's weights, in each part that has one.
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


def convert(conversion: ConversionConfig, say: Callable[[str], Any] = print) -> hub.Directory:
    """Convert and return the directory; a conversion of the same files is not repeated.

    Raises:
      ConfigError: the sources make no model, or a setting is wrong.
      ValueError: a file is damaged, of an unknown kind, or holds values that are not finite.
      OSError: a file is missing, the Hub or the disk failed, or `dst` is no model.
    """
    target = pretrained.absolute_path(conversion.dst)
    pretrained.require_replaceable(target)
    paths, settings = gather(conversion)
    parts = [
        part
        for path in paths
        for part in open_networks(path, kind=conversion.kind, ema=conversion.ema)
    ]
    networks = join_files(parts)
    config, origin = combine(networks, settings)
    if conversion.ema:
        say(_averages(parts))
    record = _record(conversion, parts, to_dict(config))
    if _is_done(target, record, overwrite=conversion.overwrite):
        say(f"{target}: complete already, from the same files")
        return target
    for part in parts:
        say(f"{part.where}: {part.kind}, {len(part.arrays)} arrays")
    if origin:
        say(f"settings of inference: {origin}")
    # Only now are numbers read: `write_pretrained` reads and writes chunk by chunk.
    shapes = pretrained.param_shapes(config)
    arrays = {path: a for n in networks for path, a in n.parameters(shapes).items()}
    written = pretrained.write_pretrained(
        target,
        config,
        arrays,
        tokenizer_of(conversion, parts),
        dtype=conversion.dtype,
        sources=[part.source for part in parts],
        notes={RECORD: json.dumps(record, indent=1) + "\n"},
        show_progress=True,
    )
    count = sum(math.prod(shape) for shape in shapes.values())
    say(f"{written}: {count:,} parameters written")
    say(f"check them: python -m jaxedit.convert --check {written}")
    return written


def _averages(parts: Sequence[NetworkCheckpoint]) -> str:
    """Return the message which parts are moving averages; ConfigError if none is."""
    others = ", ".join(str(part.where) for part in parts if not part.is_average)
    averages = ", ".join(part.kind for part in parts if part.is_average)
    require(bool(averages), f"{others}: holds no moving average of weights (--ema)")
    rest = f"; of {others}, which holds none, the weights as they are" if others else ""
    return f"moving average of {averages}{rest}"


def gather(conversion: ConversionConfig) -> tuple[list[hub.Directory], str]:
    """Fetch the sources; return their paths and the name that the settings come from.

    Raises:
      OSError: a source is missing; for an official name, with all its files.
    """
    paths, settings = [], conversion.settings
    for text in conversion.src:
        if text not in OFFICIAL or epath.Path(text).exists():
            paths.append(hub.locate(text))
            continue
        release = official(text)
        try:
            paths += [hub.fetch_source(source) for source in release.sources]
        except OSError as error:
            raise FileNotFoundError(f"{text}: {error}; {hub.how_to_bring(text)}") from error
        if family_of(release.config).purpose:
            settings = settings or text
    return paths, settings


def tokenizer_of(
    conversion: ConversionConfig, parts: Sequence[NetworkCheckpoint]
) -> hub.Directory | str | None:
    """Return the directory of the text tokenizer, if the model has one."""
    if conversion.tokenizer:
        return conversion.tokenizer
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
    conversion: ConversionConfig, parts: Sequence[NetworkCheckpoint], config: dict[str, Any]
) -> dict[str, Any]:
    """Return everything that a conversion depends on, as JSON values."""
    files = sorted({file for part in parts for file in part.files})
    stats = [epath.Path(file).stat() for file in files]
    return {
        "files": [[str(f), s.length, float(s.mtime)] for f, s in zip(files, stats, strict=True)],
        "dtype": conversion.dtype,
        "ema": conversion.ema,
        "tokenizer": conversion.tokenizer,
        "config": config,
    }


def _is_done(target: hub.Directory, record: dict[str, Any], *, overwrite: bool) -> bool:
    """Return whether a complete conversion of the same files is there.

    Raises:
      FileExistsError: another model is there, and `overwrite` is False.
    """
    if not pretrained.is_pretrained(target) or not shards.exist(target):
        return False
    try:
        found = json.loads((target / RECORD).read_text("utf-8"))
        # Records of earlier versions lack some settings.
        found["config"] = to_dict(from_dict(PretrainedConfig, found["config"]))
    except (OSError, ValueError, TypeError, KeyError):
        found = None
    if found == record:
        return True
    if not overwrite:
        raise FileExistsError(f"{target}: holds another model; --overwrite replaces it")
    return False
