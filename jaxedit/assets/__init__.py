"""What is bundled with the package, one directory per name, and how a name or a path is found."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parent


def bundled(markers: tuple[str, ...]) -> list[str]:
    """Names of the bundled directories that hold one of the files `markers`."""
    found = {path.parent.name for marker in markers for path in ROOT.glob(f"*/{marker}")}
    return sorted(found)


def locate(name: str | os.PathLike, markers: tuple[str, ...]) -> pathlib.Path:
    """The directory that a bundled name or a path stands for.

    Args:
      name: a bundled name ("toy-varedit") or a directory.
      markers: files of which the directory must hold at least one.

    Returns:
      An existing directory.

    Raises:
      FileNotFoundError: nothing is there, or none of `markers` lies in it; one line.
    """
    text, known = os.fspath(name), bundled(markers)
    if text in known:
        return ROOT / text
    if not os.path.isdir(text):
        raise FileNotFoundError(
            f"{text!r}: expected a bundled name ({', '.join(known) or 'none'}) or a directory"
        )
    directory = pathlib.Path(text)
    if not any((directory / marker).is_file() for marker in markers):
        raise FileNotFoundError(f"{text!r}: expected a directory with {' or '.join(markers)} in it")
    return directory
