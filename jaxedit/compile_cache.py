"""JAX's persistent compilation cache: the second start of the same program skips compiling."""

import os
import pathlib

import jax


def enable(directory: str | os.PathLike[str] = "~/.cache/jaxedit/xla") -> pathlib.Path:
    """Keep compiled programs in `directory`, for every later start on this machine.

    A directory that was chosen before (`JAX_COMPILATION_CACHE_DIR`) is kept. Where the directory
    cannot be made, nothing is cached and everything still works.

    Args:
      directory: where to keep them; `~` is the home directory.

    Returns:
      The directory in use.
    """
    chosen = jax.config.jax_compilation_cache_dir or directory
    path = pathlib.Path(chosen).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return path
    jax.config.update("jax_compilation_cache_dir", str(path))
    return path
