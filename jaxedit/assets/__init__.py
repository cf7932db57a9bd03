"""What is bundled with the package, one directory per name, and how a name or a path is found."""

import os
import pathlib

from etils import epath

PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}  # which read a file system
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


def remote(name: str | os.PathLike) -> epath.Path:
    """A path on gs:// or another file system of `etils.epath`; something may lie there or not.

    Raises:
      OSError: the file system does not answer, or its package is missing; one line.
    """
    text = os.fspath(name)
    try:
        path = epath.Path(text)
        path.exists()
    except ImportError as error:
        package = PACKAGES.get(text.partition("://")[0], "fsspec")
        raise OSError(f"{text}: needs a package: pip install {package} ({error})") from error
    except KeyError as error:
        raise FileNotFoundError(f"{text}: expected gs:// or a path on this machine") from error
    except Exception as error:  # each file system raises its own kinds
        raise OSError(f"{text}: not readable: {str(error).splitlines()[0]}") from error
    return path
