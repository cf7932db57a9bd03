"""jaxedit: autoregressive image editing in JAX. `jaxedit.Editor` is the front door."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Editor", "EditResult", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the editor, and with it jax, only when it is asked for."""
    if name == "Editor":
        from jaxedit.editor.editor import Editor

        return Editor
    if name == "EditResult":
        from jaxedit.editor.pipeline import EditResult

        return EditResult
    raise AttributeError(f"module 'jaxedit' has no attribute {name!r}")
