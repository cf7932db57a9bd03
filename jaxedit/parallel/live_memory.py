"""How much memory a program needs for what it computes on the way, told without compiling it.

The program is traced to its list of operations. A value takes memory from the operation that makes
it to the last one that reads it, with these rules of thumb for what compilers do:

- Element by element operations are fused into those that read them: their values take no memory,
  but keep alive what they are made of. Only products, convolutions, loops and the like need their
  operands in memory.
- An operation that is fused, or that updates a part of an array, writes over an operand that nobody
  reads any more. A loop writes over what it carries.
- A loop holds the slices of what it scans, beside what one iteration needs.

Arguments are not counted. Beside XLA's own plans (temporary and output bytes) the estimate is

- 0.90 for the last scale of the 2B transformer at 512 px, compiled for TPU v5e (0.98 GB);
- 1.05 for a training step of EditAR's tiny model on CPU (138 MB);
- 1.0 and 1.3 for the halves of an image tokenizer on CPU, 0.8 to 1.3 for reading the source.

XLA's CPU kernels keep no attention scores, which are counted here: on CPU it may be far too high.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

# Operations that make values in memory. Those of `_READERS` also read their operands there.
_READERS = (
    *("dot_general", "conv_general_dilated", "scan", "while", "cond", "sort", "top_k"),
    *("gather", "scatter", "scatter-add", "scatter_add", "random_bits", "threefry2x32"),
)
_MAKERS = (
    *_READERS,
    *("concatenate", "dynamic_update_slice", "argmax", "argmin", "cumsum", "cumlogsumexp"),
    *("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"),
)
_VIEWS = ("reshape", "squeeze", "expand_dims", "stop_gradient", "optimization_barrier")
_LOOPS = ("scan", "while", "cond")


@dataclasses.dataclass(eq=False)
class _Value:
    """A value of the program: its size, and what is known about its place in memory."""

    nbytes: int
    free: bool = False  # takes no memory of its own: an argument or a constant
    maker: "_Operation | None" = None
    stored: bool = True  # in memory, not fused
    last: int = -1  # the last operation that reads it


@dataclasses.dataclass(eq=False)
class _Operation:
    """One operation; `within` is what it needs while it runs, beside operands and results."""

    name: str
    reads: list[_Value]
    makes: list[_Value]
    within: int = 0
    carried: int = 0  # a loop: how many results overwrite an operand


def peak_bytes(function: Callable[..., Any], *arguments: Any, count_results: bool = True) -> int:
    """Bytes that the values of `function(*arguments)` take at the worst moment.

    Args:
      function: as given to `jax.jit`.
      *arguments: pytrees of arrays or ShapeDtypeStructs; they are not counted.
      count_results: whether its results are.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return _peak(jaxpr, count_results=count_results)


def _peak(jaxpr: core.Jaxpr, counted: Sequence[int] = (), *, count_results: bool = True) -> int:
    """The peak of a program; its arguments count only at the positions `counted`."""
    values: dict[Any, _Value] = {v: _Value(_nbytes(v), free=True) for v in jaxpr.constvars}
    for i, v in enumerate(jaxpr.invars):
        values[v] = _Value(_nbytes(v), free=i not in counted)
    arguments = [values[v] for i, v in enumerate(jaxpr.invars) if i in counted]
    operations: list[_Operation] = []
    _inline(jaxpr, values, operations)
    results = [_lookup(values, v) for v in jaxpr.outvars]
    operations = _without_dead(operations, results)
    for value in results:
        value.free = value.free or not count_results
    _decide_stored(operations, results)
    for i, operation in enumerate(operations):
        if any(value.stored for value in operation.makes):
            for value in _sources(operation.reads):
                value.last = i
    for value in _sources(results):
        value.last = len(operations)
    return _sweep(operations, arguments)


def _inline(jaxpr: core.Jaxpr, values: dict[Any, _Value], operations: list[_Operation]) -> None:
    """Append the operations of a program and of the functions that it calls."""
    for equation in jaxpr.eqns:
        reads = [_lookup(values, v) for v in equation.invars]
        inner = _inner(equation)
        name = equation.primitive.name
        if name not in _LOOPS and len(inner) == 1 and len(inner[0].invars) == len(reads):
            called = inner[0]
            names = dict(zip(called.invars, reads, strict=True))
            names |= {v: _Value(_nbytes(v), free=True) for v in called.constvars}
            _inline(called, names, operations)
            results = [_lookup(names, v) for v in called.outvars]
            values |= dict(zip(equation.outvars, results, strict=True))
            continue
        makes = [_Value(_nbytes(v)) for v in equation.outvars]
        operation = _Operation(name, reads, makes)
        if name == "scan":
            first, operation.carried = (equation.params[p] for p in ("num_consts", "num_carry"))
            slices = range(first + operation.carried, len(reads))
            operation.reads = reads[first:] + reads[:first]  # what is carried comes first
            operation.within = _peak(inner[0], slices)
        elif inner:
            operation.within = max(map(_peak, inner))
        for value in makes:
            value.maker = operation
        operations.append(operation)
        values |= dict(zip(equation.outvars, makes, strict=True))


def _inner(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """The programs that an operation calls."""
    found = []
    for parameter in equation.params.values():
        parts = parameter if isinstance(parameter, tuple | list) else (parameter,)
        for part in parts:
            if isinstance(part, core.ClosedJaxpr | core.Jaxpr):
                found.append(getattr(part, "jaxpr", part))
    return found


def _without_dead(operations: list[_Operation], results: list[_Value]) -> list[_Operation]:
    """The operations that matter; results that nobody reads take no memory."""
    needed, alive = set(map(id, results)), []
    for operation in reversed(operations):
        for value in operation.makes:
            value.free = value.free or id(value) not in needed
        if any(id(value) in needed for value in operation.makes):
            alive.append(operation)
            needed |= set(map(id, operation.reads))
    return alive[::-1]


def _decide_stored(operations: list[_Operation], results: list[_Value]) -> None:
    """Say of every value whether it is in memory."""
    for operation in operations:
        for value in operation.makes:
            value.stored = operation.name in _MAKERS
    for operation in operations:
        if operation.name in _READERS:
            _store(operation.reads)
    _store(results)


def _store(values: Sequence[_Value]) -> None:
    for value in values:
        while value.maker and value.maker.name in _VIEWS and not value.stored:
            value = value.maker.reads[0]
        value.stored = True


def _sources(values: Sequence[_Value]) -> set[_Value]:
    """The values in memory that these are made of."""
    found: set[_Value] = set()
    seen, waiting = set(), list(values)
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.stored:
            found.add(value)
        else:
            waiting += value.maker.reads
    return found


def _sweep(operations: list[_Operation], arguments: list[_Value]) -> int:
    """Run through the operations and add up what is in memory."""
    peak = now = sum(value.nbytes for value in arguments)
    for i, operation in enumerate(operations):
        made = [v for v in operation.makes if v.stored and not v.free]
        if not made:
            continue
        dying = {v for v in _sources(operation.reads) if v.last == i and not v.free}
        overwritten = _overwritten(operation, dying)
        now += sum(v.nbytes for v in made) - overwritten
        peak = max(peak, now + operation.within)
        now -= sum(v.nbytes for v in dying) - overwritten
        now -= sum(v.nbytes for v in made if v.last < 0)
    return peak


def _overwritten(operation: _Operation, dying: set[_Value]) -> int:
    """Bytes of the results that are written over operands."""
    if operation.name in _LOOPS:
        pairs = zip(operation.reads[: operation.carried], operation.makes, strict=False)
        return sum(new.nbytes for old, new in pairs if _sources([old]) <= dying and not new.free)
    if operation.name in ("dynamic_update_slice", "scatter", "scatter-add", "scatter_add"):
        (target,) = _sources(operation.reads[:1]) if operation.reads[0].stored else (None,)
        is_inner = target is not None and target.free and target.maker is None
        return operation.makes[0].nbytes if target in dying or is_inner else 0
    if operation.name in _READERS:
        return 0
    size = sum(v.nbytes for v in operation.makes if v.stored and not v.free)
    return size if any(v.nbytes == size for v in dying) else 0


def _lookup(values: dict[Any, _Value], v: Any) -> _Value:
    return _Value(0, free=True) if isinstance(v, core.Literal) else values[v]


def _nbytes(v: Any) -> int:
    return math.prod(v.aval.shape) * v.aval.dtype.itemsize
