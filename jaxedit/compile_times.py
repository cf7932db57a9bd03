"""How long programs took to be prepared, kept on this machine as a forecast for the next start.

The times lie beside the compiled programs. Without a local folder for these, nothing is kept.
"""

import contextlib
import hashlib
import json
import pathlib
import time
from collections.abc import Iterator

import jax

from jaxedit.atomic_write import atomic_write

FILE = "jaxedit-seconds.json"
MOST = 500  # programs that are remembered


def name_of(model: str, *parts: object) -> str:
    """Return a name for the programs of a model, which tells them apart on this machine.

    Args:
      parts: all that the programs depend on but the device and the version of JAX.
    """
    device = jax.local_devices()[0].device_kind, jax.device_count()
    digest = hashlib.sha256(repr((parts, device, jax.__version__)).encode()).hexdigest()
    return f"{model} {digest[:16]}"


def last_time(name: str) -> str:
    """Return the end of a sentence about how long the programs took last; "" if unknown."""
    seconds = _read().get(name)
    return f"; this took {seconds:.0f} s the last time" if isinstance(seconds, float) else ""


@contextlib.contextmanager
def timed(name: str) -> Iterator[None]:
    """Time a block that prepares programs, and keep its time; a failure to keep it is ignored."""
    start = time.perf_counter()
    yield
    seconds = _read()
    seconds.pop(name, None)
    seconds[name] = time.perf_counter() - start  # the newest comes last
    newest = dict([*seconds.items()][-MOST:])
    with contextlib.suppress(OSError), atomic_write(_path()) as part:
        part.write_text(json.dumps(newest, indent=1), "utf-8")


def _read() -> dict[str, float]:
    try:
        found = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path() -> pathlib.Path:
    """Return the place of the times; raise OSError if there is none."""
    directory = jax.config.jax_compilation_cache_dir
    if not directory or "://" in directory:
        raise FileNotFoundError("there is no local folder for compiled programs")
    return pathlib.Path(directory, FILE)
