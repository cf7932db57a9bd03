"""`--from_png`: a picture made again from the settings in it, and compared with the first one."""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.config import require
from jaxedit.config.methods import PART_OF, options_of
from jaxedit.console import DONE
from jaxedit.editor import preparation
from jaxedit.editor.preparation import Model

if TYPE_CHECKING:
    from PIL import Image

DIFFERENT = 1
FIXED = ("seed", "int8", "dtype", "t5_dtype", *PART_OF)  # arguments that the settings tell


def read(
    args: argparse.Namespace, fixed: Sequence[str], needed: Sequence[str]
) -> tuple[pathlib.Path, dict[str, Any], pathlib.Path]:
    """Read the settings of the earlier picture.

    Args:
      args: of the command.
      fixed: more arguments that the settings tell, besides `FIXED`.
      needed: settings that such a picture has.

    Returns:
      The earlier picture, its settings, and where the new one will be.

    Raises:
      ValueError, OSError: the picture has no such settings, or an argument is wrong.
    """
    from jaxedit.editor import provenance

    given = [name for name in (*fixed, *FIXED) if getattr(args, name, None) is not None]
    require(not given, f"--from_png takes {', '.join(given)} from the file: leave that out")
    earlier = pathlib.Path(args.from_png)
    settings = provenance.read_settings(earlier, needed)
    output = provenance.require_writable(args.output or f"{earlier.stem}-again.png")
    require(
        output.absolute() != earlier.absolute(), f"--output {output}: expected another name than it"
    )
    return earlier, settings, output


def load(
    kind: type[Model], args: argparse.Namespace, settings: dict[str, Any]
) -> tuple[Model, dict[str, Any]]:
    """Load the model of the settings, with the same weights, as it was kept then.

    Returns:
      The model, compiled, and the options of its sampling method.
    """
    model = preparation.load(
        kind,
        args.model or settings["model"],
        dtype=settings["dtype"],
        t5_dtype=settings.get("t5_dtype", settings["dtype"]),  # in older pictures they are one
        text_on_host=settings.get("text_on_host", args.text_on_host),
        text_features=args.text_features,
        rows_per_device=settings["rows_per_device"],
        int8=settings.get("int8", ()),
    )
    require_same(f"{model.name}: the weights", model.fingerprint, settings["weights_sha256"])
    known = options_of(settings["method"])
    options = {name: settings[name] for name in ("method", *known) if name in settings}
    preparation.compile(model, options)
    return model, options


def compare(
    image: "Image.Image",
    output: pathlib.Path,
    earlier: pathlib.Path,
    settings: dict[str, Any],
    again: dict[str, Any],
) -> int:
    """Say whether the picture of `output` is the earlier one; returns the exit code.

    Args:
      image: the new picture.
      output: its file.
      earlier: file of the first picture.
      settings: of the first picture.
      again: of the new one.
    """
    from jaxedit.data.pictures import photo

    if image.tobytes() != photo.read(earlier).tobytes():
        made = f"{settings['backend']}, {settings['versions']}"
        here = f"{again['backend']}, {again['versions']}"
        print(f"{output}: differs from {earlier} (made on {made}; here {here})", file=sys.stderr)
        return DIFFERENT
    print(f"{output}: equal to {earlier} bit for bit")
    return DONE


def require_same(what: str, found: str, expected: str) -> None:
    """Raise ConfigError unless two SHA-256 are the same."""
    require(found == expected, f"{what} changed: sha256 {found[:12]}, expected {expected[:12]}")
