"""The lookup of a model by any name, with conversion where it is needed."""

import functools
import json
import os
import pathlib
import shlex
import sys

from jaxedit import assets
from jaxedit.checkpoints import contents, hub
from jaxedit.checkpoints.hub import CONFIG, Directory
from jaxedit.checkpoints.shards import WEIGHTS
from jaxedit.config import OFFICIAL
from jaxedit.config.families import BY_TYPE
from jaxedit.convert.combine import PLACES
from jaxedit.convert.convert import ConversionConfig, convert
from jaxedit.convert.detect import KINDS
from jaxedit.convert.network_checkpoint import open_networks


def ensure_converted(name: str | os.PathLike) -> Directory:
    """Return the pretrained directory of a name, see `hub.resolve`.

    An official release is fetched and converted on first use, and kept.

    Raises:
      FileNotFoundError: nothing is there; one line with the files to fetch.
      ValueError: no model of jaxedit is there; for released weights, with the command that
        converts them.
      OSError: the network or the disk failed.
    """
    text = os.fspath(name)
    if "://" in text:
        _refuse_release(assets.remote(text))
    elif os.path.exists(text):
        _refuse_release(pathlib.Path(text))
    elif text in OFFICIAL and not (hub.converted(text) / CONFIG).is_file():
        say = functools.partial(print, file=sys.stderr)
        return convert(ConversionConfig(src=(text,), dst=str(hub.converted(text))), say)
    return hub.resolve(text)


def _refuse_release(path: Directory) -> None:
    """Raise ValueError, with the command that converts them, if released weights lie there."""
    if not _is_release(path):
        return
    try:
        (part,) = open_networks(path)
    except ValueError as error:
        if (path / WEIGHTS).exists():  # reading the folder will raise a better error
            return
        raise ValueError(
            f"{error}; a model is a folder made by python -m jaxedit.convert "
            f"--src={shlex.quote(str(path))} --dst=DIR"
        ) from error
    # Released weights: name the other networks of the model, and the command that converts all.
    others = [name for name in BY_TYPE[part.kind].networks if name in PLACES and name != part.kind]
    sources = "".join(f" --src={kind.upper()}" for kind in others)
    needed = ", ".join(f"{kind.upper()}: {PLACES[kind]}, or a file of it" for kind in others)
    raise ValueError(
        f"{path}: weights as they were released ({part.kind}: {KINDS[part.kind].about}); convert "
        f"them first: python -m jaxedit.convert --src={shlex.quote(str(path))}{sources} --dst=DIR"
        + (f" ({needed})" if needed else "")
    )


def _is_release(path: Directory) -> bool:
    """Return whether a file, or a directory with another program's weights, lies there."""
    if not path.is_dir():
        return path.exists()
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        config = {}
    except (OSError, ValueError):
        return False  # `pretrained.read_config` will raise a better error
    is_other = isinstance(config, dict) and "jaxedit" not in config
    return is_other and any(file.name.endswith(contents.SUFFIXES) for file in path.iterdir())
