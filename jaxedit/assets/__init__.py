"""The bundled files, one directory per name, and the lookup of names and paths."""

import os
import pathlib

from etils import epath

AnyPath = pathlib.Path | epath.Path  # on this machine, or on gs://
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}  # scheme -> the package that reads the file system
ROOT = pathlib.Path(__file__).parent


def bundled(markers: tuple[str, ...]) -> list[str]:
    """Return the names of the bundled directories that hold one of the files `markers`."""
    return sorted({path.parent.name for marker in markers for path in ROOT.glob(f"*/{marker}")})


def locate(name: str | os.PathLike, markers: tuple[str, ...]) -> pathlib.Path:
    """Return the directory that a bundled name ("toy-varedit") or a path stands for.

    Raises:
      FileNotFoundError: there is no such directory, or it holds none of the files `markers`.
    """
    text, known = os.fspath(name), bundled(markers)
    if text in known:
        return ROOT / text
    directory = pathlib.Path(text)
    if not directory.is_dir():
        raise FileNotFoundError(
            f"{text!r}: expected a bundled name ({', '.join(known) or 'none'}) or a directory"
        )
    if not any((directory / marker).is_file() for marker in markers):
        raise FileNotFoundError(f"{text!r}: expected a directory with {' or '.join(markers)} in it")
    return directory


def remote(name: str | os.PathLike) -> epath.Path:
    """Return a path on gs:// or another file system of `etils.epath`; it need not exist.

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
    except Exception as error:  # each file system has its own errors
        raise OSError(f"{text}: not readable: {str(error).splitlines()[0]}") from error
    return path
