"""Config files: a run of training or of an evaluation, its presets, and its name.

The file's function `get_config` returns a TrainConfig, or a dict of an evaluation's arguments. If
it takes a preset, a dict `RUNS` in the file lists the names of all presets, for messages.
"""

import contextlib
import importlib.util
import inspect
import pathlib
import re
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from jaxedit import configs
from jaxedit.config import ConfigError, TrainConfig, require

INSTALLED = pathlib.Path(configs.__file__).parent
DEFAULT = "tiny"  # the preset of files without a default of their own


class ConfigFile(NamedTuple):
    """A run that a file describes."""

    path: str  # as it was given
    preset: str  # empty: the file has no presets
    is_chosen: bool  # whether the preset was given
    others: tuple[str, ...]  # the presets beside it, as far as the file names them
    config: TrainConfig | dict[str, Any]

    @property
    def name(self) -> str:
        """Return the name of the run: FILE-PRESET."""
        stem = pathlib.Path(self.path).stem
        return re.sub(r"[^\w.+-]", "-", "-".join(filter(None, [stem, self.preset])))

    @property
    def title(self) -> str:
        """Return FILE.py:PRESET, as --config takes it."""
        return f"{self.path}:{self.preset}" if self.preset else self.path


def installed(kind: type = TrainConfig) -> list[pathlib.Path]:
    """Return the configs of a kind, TrainConfig or dict, that come with the package."""
    files = sorted(INSTALLED.glob("[a-z]*.py"))
    return [file for file in files if file.match("eval_*") == (kind is dict)]


def load(argument: str, kind: type = TrainConfig) -> ConfigFile:
    """Return the run of "FILE.py:PRESET" or "FILE.py".

    A bare name or `configs/NAME.py` that is no file here names an installed config. The default
    preset is the default of `get_config`, or else `tiny`.

    Args:
      kind: what the file's function returns, TrainConfig or dict.

    Raises:
      ConfigError: no such file or preset, or the file fails; the message names the line.
    """
    path, _, preset = re.fullmatch(r"(.*?\.py|[^:]*)(:(.*))?", argument, re.S).groups("")
    module = _module(path, kind)
    require(hasattr(module, "get_config"), f"--config={path}: expected a function get_config")
    known = tuple(getattr(module, "RUNS", ()))
    takes_one = bool(inspect.signature(module.get_config).parameters)
    require(takes_one or not preset, f"--config={argument}: {path} has no presets")
    chosen = preset or _default(module, path, known)
    require(
        not known or not chosen or chosen in known,
        f"--config={path}: unknown preset {chosen!r}: expected one of {', '.join(known)}",
    )
    with _errors_in(path):
        config = module.get_config(chosen) if chosen else module.get_config()
    require(isinstance(config, kind), f"--config={path}: expected a {kind.__name__}")
    others = tuple(name for name in known if name != chosen)
    return ConfigFile(path, chosen, bool(preset), others, config)


def _module(path: str, kind: type) -> ModuleType:
    given, places = pathlib.Path(path), [pathlib.Path(path)]
    if str(given.parent) in (".", "configs"):
        places.append(INSTALLED / given.name)
    places = [place for place in places if place.is_file()]
    known = ", ".join(file.name for file in installed(kind))
    require(bool(places), f"--config={path}: no such file; installed configs: {known}")
    spec = importlib.util.spec_from_file_location("jaxedit_config", places[0])
    require(spec is not None, f"--config={path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    with _errors_in(path):
        spec.loader.exec_module(module)
    return module


def _default(module: ModuleType, path: str, known: tuple[str, ...]) -> str:
    """Return the default preset; "" for files without presets."""
    parameters = list(inspect.signature(module.get_config).parameters.values())
    if not parameters:
        return ""
    default = parameters[0].default
    if default is not inspect.Parameter.empty:
        return default if isinstance(default, str) else ""
    require(
        bool(known),
        f"--config={path}: its get_config needs a preset: expected --config={path}:PRESET",
    )
    return DEFAULT if DEFAULT in known else known[0]


@contextlib.contextmanager
def _errors_in(path: str) -> Iterator[None]:
    """Turn errors inside a user's config file into one line that names the file and the line."""
    try:
        yield
    except SyntaxError as error:
        raise ConfigError(f"--config={path}: line {error.lineno}: {error.msg}") from error
    except ConfigError as error:
        raise ConfigError(f"--config={path}: {error}") from error
    except Exception as error:  # any: it is the user's own code
        frames = traceback.extract_tb(error.__traceback__)
        lines = [
            f.lineno for f in frames if pathlib.Path(f.filename).name == pathlib.Path(path).name
        ]
        where = f"line {lines[-1]}: " if lines else ""
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"--config={path}: {where}{reason}") from error
