"""The pickle inside a PyTorch file, run by a machine that can build data and nothing else.

A pickle is a program that may call anything that it can import. Here nothing is imported: a name in
the program is looked up in the caller's table, whose values are inert or the caller's own builders.
Calls of unknown names make `Inert` values, which keep the name and the arguments, and do nothing:
settings, counters and callbacks often lie beside the weights.
"""

import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.convert.torch_reader.inert import Inert

MAX_BYTES = 1 << 24  # of a pickle: some hundred bytes per tensor, whose numbers lie elsewhere
MAX_STEPS = 5_000_000
MAX_NAME = 256  # bytes of a module and a name in it
MAX_INTEGER = 1024  # bytes of a number: Python refuses to print much longer numbers
NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}
FIXED = {  # formats of arguments of a fixed size
    **dict.fromkeys(("PROTO", "BININT1", "BINPUT", "BINGET"), "<B"),
    "BININT2": "<H",
    "BININT": "<i",
    **dict.fromkeys(("LONG_BINPUT", "LONG_BINGET"), "<I"),
    "FRAME": "<Q",
    "BINFLOAT": ">d",
}
SIZED = {  # formats of the size, in bytes, that precedes an argument
    **dict.fromkeys(("LONG1", "SHORT_BINUNICODE", "SHORT_BINBYTES"), "<B"),
    **dict.fromkeys(("LONG4", "BINUNICODE", "BINBYTES"), "<I"),
    **dict.fromkeys(("BINUNICODE8", "BINBYTES8", "BYTEARRAY8"), "<Q"),
}
PUSHED = {*SIZED, "BININT", "BININT1", "BININT2", "BINFLOAT"}
Key = str | bytes | int | float | None


class Builder(NamedTuple):
    """A name that the program may call, with the function that runs in its place."""

    build: Callable[..., Any]


class Namespace(dict):
    """The attributes of a settings object, such as `argparse.Namespace`, by name."""


def load(data: bytes, names: Mapping[str, Any], stored_elsewhere: Callable[[Any], Any]) -> Any:
    """Run a pickle of protocol 2 to 5.

    Args:
      names: "module name" to a value that does nothing, or a `Builder`; others become `Inert`.
      stored_elsewhere: returns the value of a persistent id.

    Returns:
      Nested dicts, lists (also for sets), tuples, strings, numbers, values of the builders, and
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
    """Yield each instruction's name in `pickletools`, and its argument or None."""
    position = 0
    while position < len(data):
        operation, argument = NAMES.get(data[position], f"{data[position]:#x}"), None
        position += 1
        if operation in FIXED:
            (argument,) = struct.unpack_from(FIXED[operation], data, position)
            position += struct.calcsize(FIXED[operation])
        elif operation in SIZED:
            (size,) = struct.unpack_from(SIZED[operation], data, position)
            position += struct.calcsize(SIZED[operation]) + size
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
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        # instruction -> number of values that it pops, and the function whose result it pushes
        self.functions: dict[str, tuple[int, Callable[..., Any]]] = {
            "NONE": (0, lambda: None),
            "NEWTRUE": (0, lambda: True),
            "NEWFALSE": (0, lambda: False),
            "EMPTY_DICT": (0, dict),
            "EMPTY_LIST": (0, list),
            "EMPTY_SET": (0, list),
            "EMPTY_TUPLE": (0, tuple),
            "TUPLE1": (1, lambda *items: items),
            "TUPLE2": (2, lambda *items: items),
            "TUPLE3": (3, lambda *items: items),
            "APPEND": (2, lambda target, item: _extend(target, [item])),
            "SETITEM": (3, lambda target, *item: set_items(target, item)),
            "BUILD": (2, _set_attributes),
            "REDUCE": (2, _build),
            "NEWOBJ": (2, _build),
            "NEWOBJ_EX": (3, _build),
            "STACK_GLOBAL": (2, lambda module, name: self._named(_dotted(module, name))),
            "BINPERSID": (1, stored_elsewhere),
        }

    def step(self, operation: str, argument: Any) -> None:
        """Do one instruction; the names are those of `pickletools`."""
        match operation:
            case "PROTO" | "FRAME":
                pass
            case _ if operation in PUSHED:
                self.stack.append(argument)
            case _ if operation in self.functions:
                count, function = self.functions[operation]
                values = [self.stack.pop() for _ in range(count)]
                self.stack.append(function(*reversed(values)))
            case "MARK":
                self.aside.append(self.stack)
                self.stack = []
            case "POP" if self.stack:
                self.stack.pop()
            case "POP" | "POP_MARK":
                self._since_mark()
            case "TUPLE" | "FROZENSET":
                items = self._since_mark()
                self.stack.append(tuple(items))
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _extend(self.stack[-1], items)
            case "SETITEMS":
                items = self._since_mark()
                set_items(self.stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(self._named(argument))
            case _:
                raise ValueError(f"the instruction {operation}, which torch.save never writes")

    def _since_mark(self) -> list[Any]:
        """Return the values since the last mark, and restore the stack from before it."""
        items, self.stack = self.stack, self.aside.pop()
        return items

    def _named(self, name: str) -> Any:
        return self.names[name] if name in self.names else Inert(name.replace(" ", "."))


def _dotted(module: Any, name: Any) -> str:
    """Return the key of a name in the caller's table; TypeError if it is no short text."""
    if not isinstance(module, str) or not isinstance(name, str) or len(module + name) > MAX_NAME:
        raise TypeError("a name that is no text, or a long one")
    return f"{module} {name}"


def _extend(target: Any, items: list[Any]) -> Any:
    """Append items to a list; return the list."""
    if isinstance(target, Inert):
        target.parts.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise TypeError("items for a value that is no list")
    return target


def set_items(target: Any, items: Sequence[Any]) -> Any:
    """Set keys and values, which alternate in `items`, in a dict; return the dict."""
    if isinstance(target, Inert):
        target.parts.extend(items)
    elif isinstance(target, dict):
        # Keys of other types could be nested without end, and hashing them would not end either.
        keys = [key if isinstance(key, Key | Inert) else Inert("key", key) for key in items[::2]]
        target.update(zip(keys, items[1::2], strict=True))
    else:
        raise TypeError("entries for a value that is no dict")
    return target


def _build(builder: Any, arguments: Any, keywords: Any = None) -> Any:
    """Return the value of a call."""
    if isinstance(builder, Inert):
        return Inert(builder.name, arguments, keywords)
    if not isinstance(builder, Builder) or not isinstance(arguments, tuple) or keywords:
        raise TypeError("a call of a value that cannot be called")
    return builder.build(*arguments)


def _set_attributes(target: Any, attributes: Any) -> Any:
    """Set the attributes of a settings object; a state dict's, versions of modules, are dropped."""
    if isinstance(target, Inert):
        target.parts.append(attributes)
    elif not isinstance(target, dict) or not isinstance(attributes, dict):
        raise TypeError("attributes for a value that has none")
    elif isinstance(target, Namespace):
        target.update(attributes)
    return target
