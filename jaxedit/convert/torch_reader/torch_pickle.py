"""The pickle inside a PyTorch file, run by a machine that can build data and nothing else.

A pickle is a program that may call whatever it can import. Here nothing is imported: a name that
the program mentions is a key of the caller's table, whose values are inert or the caller's own
builders, or it is unknown. What an unknown name makes is an `Inert`, which keeps the name and what
it was made from, and does nothing: settings, counters and callbacks often lie beside the weights.
"""

import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from jaxedit.convert.torch_reader.inert import Inert

MAX_BYTES = 1 << 24  # of a pickle; tensors lie outside it, and each takes some hundred bytes of it
MAX_STEPS = 5_000_000
MAX_NAME = 256  # bytes of a module and a name in it
MAX_INTEGER = 1024  # bytes of a number: Python refuses to show much longer ones
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
    "LONG4": struct.Struct("<I"),
    "SHORT_BINUNICODE": struct.Struct("<B"),
    "BINUNICODE": struct.Struct("<I"),
    "SHORT_BINBYTES": struct.Struct("<B"),
    "BINBYTES": struct.Struct("<I"),
    "BINUNICODE8": struct.Struct("<Q"),
    "BINBYTES8": struct.Struct("<Q"),
    "BYTEARRAY8": struct.Struct("<Q"),
}
PUSHED = (*SIZED, "BININT", "BININT1", "BININT2", "BINFLOAT")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
Key = str | bytes | int | float | None


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
      names: "module name" to a value that does nothing, or a `Builder`; others become `Inert`.
      stored_elsewhere: persistent id to what it stands for.

    Returns:
      Nested dicts, lists (also for sets), tuples, strings, numbers, what the builders made, and
      `Inert` values.

    Raises:
      ValueError: the pickle is damaged or large, or has an instruction that is refused.
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


def _decode(operation: str, data: bytes) -> int | str | bytes | Inert:
    if operation in ("LONG1", "LONG4"):
        is_long = len(data) > MAX_INTEGER
        return Inert("builtins.int") if is_long else int.from_bytes(data, "little", signed=True)
    return data.decode(errors="surrogatepass") if "UNICODE" in operation else data


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
            case _ if operation in PUSHED:
                stack.append(argument)
            case _ if operation in EMPTY:
                stack.append(EMPTY[operation]())
            case "MARK":
                self.aside.append(stack)
                self.stack = []
            case "POP_MARK":
                self._since_mark()
            case "POP" if not stack:
                self._since_mark()
            case "POP":
                stack.pop()
            case "TUPLE" | "FROZENSET":
                items = self._since_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(reversed([stack.pop() for _ in range(int(operation[-1]))])))
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                set_items(stack[-1], [key, value])
            case "SETITEMS":
                items = self._since_mark()
                set_items(self.stack[-1], items)
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
                stack.append(self._named(_dotted(module, name)))
            case "REDUCE" | "NEWOBJ":
                arguments, builder = stack.pop(), stack.pop()
                stack.append(_build(builder, arguments))
            case "NEWOBJ_EX":
                keywords, arguments, builder = stack.pop(), stack.pop(), stack.pop()
                stack.append(_build(builder, arguments, keywords))
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
        return self.names[name] if name in self.names else Inert(name.replace(" ", "."))


def _dotted(module: Any, name: Any) -> str:
    if not isinstance(module, str) or not isinstance(name, str) or len(module + name) > MAX_NAME:
        raise TypeError("a name that is no text, or a long one")
    return f"{module} {name}"


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Inert):
        target = target.parts
    if not isinstance(target, list):
        raise TypeError("items for what is no list")
    target.extend(items)


def set_items(target: Any, items: list[Any]) -> None:
    """Set keys and values, which alternate in `items`, in a dict."""
    if isinstance(target, Inert):
        target.parts.extend(items)
        return
    if not isinstance(target, dict):
        raise TypeError("entries for what is no dict")
    # Keys of other types could be nested without end, and to hash one would take as long.
    keys = [key if isinstance(key, Key | Inert) else Inert("key", key) for key in items[::2]]
    target.update(zip(keys, items[1::2], strict=True))


def _build(builder: Any, arguments: Any, keywords: Any = None) -> Any:
    if isinstance(builder, Inert):
        return Inert(builder.name, arguments, keywords)
    if not isinstance(builder, Builder) or not isinstance(arguments, tuple) or keywords:
        raise TypeError("a call of what cannot be called")
    return builder.build(*arguments)


def _set_attributes(target: Any, attributes: Any) -> None:
    """Keep those of a settings object; those of a state dict only tell versions of modules."""
    if isinstance(target, Inert):
        target.parts.append(attributes)
        return
    if not isinstance(target, dict) or not isinstance(attributes, dict):
        raise TypeError("attributes for what has none")
    if isinstance(target, Namespace):
        target.update(attributes)
