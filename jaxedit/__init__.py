"""jaxedit: autoregressive image editing in JAX. `jaxedit.Editor` is the front door.

`jaxedit.Generator` draws pictures from texts with the base models.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["EditResult", "Editor", "GenerateResult", "Generator", "__version__"]

_PLACES = {
    "Editor": "jaxedit.editor.editor",
    "EditResult": "jaxedit.editor.editor",
    "Generator": "jaxedit.editor.generator",
    "GenerateResult": "jaxedit.editor.generator",
}


def __dir__() -> list[str]:
    """Return the public names, which are loaded only when they are asked for."""
    return __all__


def __getattr__(name: str) -> Any:
    """Load a class, and with it jax, only when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'jaxedit' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
