"""Published layouts of files: what is missing is named in one line."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxedit.config import ConfigError, require


def find(directory: pathlib.Path, names: tuple[str, ...], what: str) -> pathlib.Path:
    """Return the first of the paths below a directory that exists.

    Args:
      what: what the path holds, and where it is published.

    Raises:
      ConfigError: none of them exists; the message lists them, and what is there instead.
    """
    for name in names:
        if (directory / name).exists():
            return directory / name
    found = "not a directory" if directory.exists() else "no such directory"
    require(directory.is_dir(), f"{directory}: {found}: expected {what}")
    entries = sorted(path.name for path in directory.iterdir())
    raise ConfigError(
        f"{directory}: expected {' or '.join(names)} ({what}), "
        f"found {', '.join(entries[:5]) or 'nothing'}"
    )


def read_items(path: pathlib.Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
      ConfigError: the file is not an object of JSON with at least one item.
    """
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: expected a file of JSON: {error}") from error
    require(isinstance(items, dict) and bool(items), f"{path}: expected a JSON object of items")
    return items


def texts(path: pathlib.Path, key: str, item: Any, names: tuple[str, ...]) -> list[str]:
    """Return the texts of an item in the file `path`.

    Raises:
      ConfigError: the item is not an object, or one of the names has no text.
    """
    values = [item.get(name) if isinstance(item, Mapping) else None for name in names]
    for name, value in zip(names, values, strict=True):
        require(isinstance(value, str), f"{path}: item {key}: expected a text {name}")
    return values


def require_pictures(paths: list[pathlib.Path]) -> None:
    """Raise ConfigError unless all picture files exist; the message names the first."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        absent = f"({len(missing)} of {len(paths)} are missing)"
        raise ConfigError(f"{missing[0]}: no such file: expected a picture {absent}")
