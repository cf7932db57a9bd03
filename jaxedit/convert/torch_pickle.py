"""The pickle inside a PyTorch file, run by a machine that can build data and nothing else.

A pickle is a program that may call whatever it can import. Here nothing is imported: a name that
the program mentions is a key of the caller's table, whose values are inert or the caller's own
builders, and every other name and every other instruction ends the reading.
"""

import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

MAX_BYTES = 1 << 24  # of a pickle; tensors lie outside it, and each takes some hundred bytes of it
MAX_STEPS = 5_000_000
MAX_NAME = 256  # bytes of a module and a name in it
NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}
FIXED = {  # formats of arguments of a fixed size
    "PROTO": struct.Struct("<B"),
    "FRAME": struct.Struct("<Q"),
    "BININT": struct.Struct("<i"),
    "BININT1": struct.Struct("<B"),
    "BININT2": struct.Struct("<H"),
    "BINFLOAT": struct.Struct(">d"),
    "BINPUT": struct.Struct("<B"),
    "LONG_BINPUT": struct.Struct("<I"),
    "BINGET": struct.Struct("<B"),
    "LONG_BINGET": struct.Struct("<I"),
}
SIZED = {  # formats of the number of bytes that an argument has
    "LONG1": struct.Struct("<B"),
    "SHORT_BINUNICODE": struct.Struct("<B"),
    "BINUNICODE": struct.Struct("<I"),
    "SHORT_BINBYTES": struct.Struct("<B"),
    "BINBYTES": struct.Struct("<I"),
}
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
        for step, (operation, argument) in enumerate(_instructions(data)):
            if operation == "STOP":
                return machine.stack.pop()
            if step > MAX_STEPS:
                raise ValueError(f"more than {MAX_STEPS} instructions")
            machine.step(operation, argument)
    except (IndexError, KeyError, TypeError, struct.error, UnicodeError) as error:
        raise ValueError(f"a damaged pickle: {type(error).__name__} {error}") from error
    raise ValueError("a damaged pickle: it has no end")


def _instructions(data: bytes) -> Iterator[tuple[str, Any]]:
    """Each instruction by its name in `pickletools`, with its argument if it may have one."""
    position = 0
    while position < len(data):
        operation, argument = NAMES.get(data[position], f"{data[position]:#x}"), None
        position += 1
        if operation in FIXED:
            (argument,) = FIXED[operation].unpack_from(data, position)
            position += FIXED[operation].size
        elif operation in SIZED:
            (size,) = SIZED[operation].unpack_from(data, position)
            position += SIZED[operation].size + size
            if position > len(data):
                raise IndexError(f"{operation} of {size} bytes")
            argument = _decode(operation, data[position - size : position])
        elif operation == "GLOBAL":
            module, name, _ = data[position : position + MAX_NAME].split(b"\n", 2)
            position += len(module) + len(name) + 2
            argument = f"{module.decode()} {name.decode()}"
        yield operation, argument


def _decode(operation: str, data: bytes) -> int | str | bytes:
    if operation == "LONG1":
        return int.from_bytes(data, "little", signed=True)
    return data.decode() if operation.endswith("UNICODE") else data


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
