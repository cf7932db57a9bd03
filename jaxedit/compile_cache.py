"""JAX's persistent compilation cache: the second start of the same program skips compiling."""

import os
import pathlib

import jax


def enable(directory: str | os.PathLike[str] = "~/.cache/jaxedit/xla") -> str:
    """Keep compiled programs in `directory`, for every later start on this machine.

    A directory that was chosen before (`JAX_COMPILATION_CACHE_DIR`, local or gs://...) is kept.
    Where the directory cannot be made, nothing is cached and everything still works.

    Args:
      directory: where to keep them; `~` is the home directory.

    Returns:
      The directory in use.
    """
    chosen = os.fspath(jax.config.jax_compilation_cache_dir or directory)
    if "://" not in chosen:
        path = pathlib.Path(chosen).expanduser()
        chosen = str(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError:
            return chosen
    jax.config.update("jax_compilation_cache_dir", chosen)
    return chosen
