"""Values of unknown classes: their names and parts, and nothing that runs."""

from typing import Any

import numpy as np

MAX_DEPTH = 32  # of settings


class Inert:
    """An unknown class or function of a pickle, or the result of a call to it.

    Attributes:
      name: "module.name" of the class or function.
      parts: arguments, attributes and items from the pickle.
    """

    __slots__ = ("name", "parts")  # a file may hold a million

    def __init__(self, name: str, *parts: Any) -> None:
        """Keep the name and the parts."""
        self.name, self.parts = name, list(parts)

    def contains(self, kinds: tuple[type, ...]) -> bool:
        """Return whether a value of one of the types is among the parts, at any depth."""
        seen, left = {id(self)}, list(self.parts)
        while left:
            value = left.pop()
            if isinstance(value, kinds):
                return True
            if id(value) not in seen:
                seen.add(id(value))
                left += _inside(value)
        return False


def refusal(values: list[Inert]) -> str:
    """Return the message that refuses values in place of weights, with their classes' names."""
    names = sorted({ascii(value.name[:100]) for value in values})
    return f"refused: it needs {', '.join(names[:5])}, which is not plain weights or settings"


def plain(value: Any, depth: int = 0) -> Any:
    """Return a run's settings as plain dicts, lists, texts and numbers; other values become None.

    Nodes of OmegaConf become their content, and numpy's scalars become numbers.
    """
    if depth > MAX_DEPTH:
        return None
    match value:
        case dict():
            texts = {key: part for key, part in value.items() if isinstance(key, str)}
            return {key: plain(part, depth + 1) for key, part in texts.items()}
        case list() | tuple():
            return [plain(part, depth + 1) for part in value]
        case None | bool() | int() | float() | str():
            return value
        case Inert(name=name) if name.startswith("omegaconf."):
            attributes = value.parts[-1] if isinstance(value.parts[-1], dict) else {}
            return plain(attributes.get("_content", attributes.get("_val")), depth + 1)
        case Inert(name="numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar"):
            return _number(value.parts[0])
    return None


def _number(arguments: Any) -> Any:
    """Return the number of numpy's scalar (dtype, bytes); None for other arguments."""
    match arguments:
        case (Inert(name="numpy.dtype", parts=[(str() as kind, *_), *_]), bytes() as data):
            is_number = kind[:1] in tuple("biuf") and kind[1:] == str(len(data))
            return np.frombuffer(data, f"<{kind}")[0].item() if is_number else None
    return None


def _inside(value: Any) -> list[Any]:
    """Return the values directly inside a container."""
    match value:
        case Inert():
            return value.parts
        case dict():
            return list(value.values())
        case list() | tuple():
            return list(value)
    return []
