"""JAX's persistent compilation cache, so that a program is compiled once per machine."""

import os
import pathlib
import tempfile

import jax

from jaxedit import compile_times

DIRECTORY = "~/.cache/jaxedit/xla"


def enable(directory: str | os.PathLike[str] = DIRECTORY) -> None:
    """Keep compiled programs in `directory`, for every later start on this machine.

    A directory that the user has chosen (`JAX_COMPILATION_CACHE_DIR`, local or gs://...) takes
    precedence. If the directory is not writable, nothing is cached and everything else still works.

    Args:
      directory: where to keep the programs; `~` is the home directory.
    """
    chosen = os.fspath(jax.config.jax_compilation_cache_dir or directory)
    if "://" not in chosen:
        chosen = _writable(chosen)
    jax.config.update("jax_compilation_cache_dir", chosen)


def where() -> str:
    """Say where compiled programs are kept, as the end of a sentence for the user."""
    directory = jax.config.jax_compilation_cache_dir
    if directory:
        return f"kept in {directory}"
    return f"not kept: {DIRECTORY} cannot be written; JAX_COMPILATION_CACHE_DIR names another"


def preparing(programs: str) -> str:
    """Say that programs are compiled, or read if they were compiled before; it may take minutes.

    Args:
      programs: their name, by `compile_times.name_of`, for how long they took the last time.
    """
    once = f"compiled once per machine ({where()})"
    return f"preparing the programs, which are {once}{compile_times.last_time(programs)}"


def _writable(directory: str) -> str | None:
    """Return the directory, made if missing, or None if files cannot be written there."""
    try:
        path = pathlib.Path(directory).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return str(path)
    except (OSError, RuntimeError):  # RuntimeError: this user has no home directory
        return None
