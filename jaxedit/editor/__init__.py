"""The front door: pictures and instructions in, edited pictures out, for every kind of model."""

from jaxedit.editor.editor import Editor
from jaxedit.editor.system import EditResult

__all__ = ["EditResult", "Editor"]
