"""The pickle inside a PyTorch file, run by a machine that can build data and nothing else.

A pickle is a program that may call whatever it can import. Here nothing is imported: a name that
the program mentions is a key of the caller's table, whose values are inert or the caller's own
builders, and every other name and every other instruction ends the reading.
"""

import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_BYTES = 1 << 24  # of a pickle; tensors lie outside it, and each takes some hundred bytes of it
MAX_STEPS = 5_000_000
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
Key = str | int | None


class Builder(NamedTuple):
    """What the program may call, and what then happens instead."""

    build: Callable[..., Any]


class Namespace(dict):
    """Attributes of a settings object, such as `argparse.Namespace`, by name."""


def load(
    data: bytes, names: Mapping[str, Any], stored_elsewhere: Callable[[Any], Any]
) -> dict | list | Any:
    """Run a pickle.

    Args:
      data: the pickle, of protocol 2 to 5.
      names: "module name" to an inert value or a `Builder`; the only names that may be mentioned.
      stored_elsewhere: persistent id to what it stands for.

    Returns:
      Nested dicts, lists, tuples, strings, numbers and what the builders made.

    Raises:
      ValueError: the pickle is damaged or large, or needs a name or an instruction that is refused.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"a pickle of {len(data)} bytes: expected at most {MAX_BYTES}")
    machine = _Machine(names, stored_elsewhere)
    try:
        for step, (operation, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if operation.name == "STOP":
                return machine.stack.pop()
            if step > MAX_STEPS:
                raise ValueError(f"more than {MAX_STEPS} instructions")
            machine.step(operation.name, argument)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"a damaged pickle: {type(error).__name__} {error}") from error
    raise ValueError("a pickle without an end")


class _Machine:
    """A stack, the stacks set aside at each mark, and the memo."""

    def __init__(self, names: Mapping[str, Any], stored_elsewhere: Callable[[Any], Any]) -> None:
        self.names = names
        self.stored_elsewhere = stored_elsewhere
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, operation: str, argument: Any) -> None:
        """Do one instruction; the names are those of `pickletools`."""
        stack = self.stack
        match operation:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(CONSTANTS[operation])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                self.aside.append(stack)
                self.stack = []
            case "TUPLE":
                items = self._since_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(reversed([stack.pop() for _ in range(int(operation[-1]))])))
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "APPENDS":
                items = self._since_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set(stack[-1], [key, value])
            case "SETITEMS":
                items = self._since_mark()
                _set(self.stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self._named(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(self._named(f"{module} {name}"))
            case "REDUCE" | "NEWOBJ":
                arguments, builder = stack.pop(), stack.pop()
                stack.append(_build(builder, arguments))
            case "BUILD":
                attributes = stack.pop()
                _set_attributes(stack[-1], attributes)
            case "BINPERSID":
                stack.append(self.stored_elsewhere(stack.pop()))
            case _:
                raise ValueError(f"the instruction {operation}, which torch.save never writes")

    def _since_mark(self) -> list[Any]:
        """What was pushed since the last mark; the stack from before it is back."""
        items, self.stack = self.stack, self.aside.pop()
        return items

    def _named(self, name: str) -> Any:
        if name not in self.names:
            shown = name.replace(" ", ".")[:100]
            raise ValueError(f"refused: it needs {shown!r}, which is not plain weights or settings")
        return self.names[name]


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError("items for what is no list")
    target.extend(items)


def _set(target: Any, items: list[Any]) -> None:
    keys, values = items[::2], items[1::2]
    # Keys of other types could be nested without end, and to hash one would take as long.
    if not isinstance(target, dict) or not all(isinstance(key, Key) for key in keys):
        raise TypeError("entries for what is no dict, or under keys that are no text or number")
    target.update(zip(keys, values, strict=True))


def _build(builder: Any, arguments: Any) -> Any:
    if not isinstance(builder, Builder) or not isinstance(arguments, tuple):
        raise TypeError("a call of what cannot be called")
    return builder.build(*arguments)


def _set_attributes(target: Any, attributes: Any) -> None:
    """Keep those of a settings object; those of a state dict only tell versions of modules."""
    if not isinstance(target, dict) or not isinstance(attributes, dict):
        raise TypeError("attributes for what has none")
    if isinstance(target, Namespace):
        target.update(attributes)
