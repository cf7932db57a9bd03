"""Communication of a compiled program: collectives by kind and mesh axes, their count and bytes.

The numbers are parsed from the program's text. No release of XLA promises its format, so that a
collective in an unknown notation is counted as `UNPARSED` instead of raising an error.
"""

import collections
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from jaxedit.planning.device_memory import GB

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
UNPARSED = "unread"
# Every line with a collective in any notation; asynchronous collectives count at their start.
_ANY = re.compile(rf" (?:{'|'.join(KINDS)})(?:-start)?\(")
_OPERATION = re.compile(rf" +(?:ROOT )?%?(\S+) = (.*?) ({'|'.join(KINDS)})(-start)?\(%")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(r"(?:calls|to_apply|body|branch_computations|\w+_computation)=(\{.*?\}|\S+)")
_CONSTANT = re.compile(r" = s32\[\]\S* constant\((\d+)\)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")


class Traffic(NamedTuple):
    """Collectives of the same kind over the same mesh axes, in a run of a program."""

    kind: str  # one of KINDS, or UNPARSED
    axes: tuple[str, ...]
    count: int  # how many run; of UNPARSED, the number of lines
    nbytes: float  # sent by each device in all of them, by the ring algorithm; 0 for UNPARSED


class _Collective(NamedTuple):
    """A collective operation: its kind, its mesh axes, and the bytes that each device sends."""

    kind: str
    axes: tuple[str, ...]
    nbytes: float


class _Computation(NamedTuple):
    """A computation of a program."""

    operations: list[str]  # the lines with collectives
    constants: list[int]
    calls: list[tuple[str, int | str]]  # a name, and how often: a number or a loop's condition


def traffic(program: str, mesh: Mesh) -> list[Traffic]:
    """List the collectives of a compiled program, most bytes first, `UNPARSED` last.

    A loop counts as often as it runs if the program says how often, else once. A collective that
    XLA:TPU spreads over several fused operations, to overlap it with computation, counts once.

    `program` is `compiled.as_text()`, compiled for the mesh.
    """
    lines = [line for line in program.splitlines() if _ANY.search(line)]
    computations, entry = _computations(program)
    if not entry:
        return [Traffic(UNPARSED, (), len(lines), 0.0)] if lines else []
    unread = sum(1 for line in lines if not _OPERATION.match(line))
    found: dict[str, tuple[int, _Collective]] = {}
    for name, times in _runs(computations, entry).items():
        for line in computations[name].operations:
            try:
                identity, collective = _collective(name, line, mesh)
            except (ValueError, IndexError):  # device groups in an unknown notation
                unread += 1
                continue
            before, _ = found.get(identity, (0, None))
            found[identity] = max(before, times), collective
    rows = _sums(found.values())
    return [*rows, Traffic(UNPARSED, (), unread, 0.0)] if unread else rows


def traffic_table(rows: list[Traffic]) -> str:
    """Format the rows as a text table with a title; rows of less than 1 % are combined."""
    unread = sum(row.count for row in rows if row.kind == UNPARSED)
    rows = [row for row in rows if row.kind != UNPARSED]
    more = f"{unread} collectives are in an unknown notation and not counted"
    if not rows:
        return more if unread else "a step sends nothing between devices"
    total = sum(row.nbytes for row in rows)
    shown = [row for row in rows if row.nbytes >= total / 100]
    if rest := [row for row in rows if row.nbytes < total / 100]:
        count, nbytes = sum(row.count for row in rest), sum(row.nbytes for row in rest)
        shown.append(Traffic("others", (), count, nbytes))
    lines = [f"each device sends {total / GB:.2f} GB a step:"]
    for kind, axes, count, nbytes in shown:
        lines.append(f"  {kind:<18}  {' x '.join(axes):<20}  {count:>6} x  {nbytes / GB:>8.2f} GB")
    return "\n".join([*lines, more] if unread else lines)


def _sums(found: Iterable[tuple[int, _Collective]]) -> list[Traffic]:
    """Add up (how often it runs, collective) by kind and axes; most bytes first."""
    sums: dict[tuple[str, tuple[str, ...]], list[float]] = collections.defaultdict(lambda: [0, 0.0])
    for count, collective in found:
        sums[collective.kind, collective.axes][0] += count
        sums[collective.kind, collective.axes][1] += count * collective.nbytes
    rows = [Traffic(kind, axes, *amount) for (kind, axes), amount in sums.items() if axes]
    return sorted(rows, key=lambda row: -row.nbytes)


def _computations(program: str) -> tuple[dict[str, _Computation], str]:
    """Return every computation by its name, and the name of the entry computation."""
    found: dict[str, _Computation] = {}
    entry, here = "", _Computation([], [], [])
    for line in program.splitlines():
        if header := _HEADER.match(line):
            here = found[header[2]] = _Computation([], [], [])
            entry = header[2] if header[1] else entry
        elif line.startswith(" "):
            _read(line, here)
    return found, entry


def _read(line: str, computation: _Computation) -> None:
    """Add to a computation the collective, constant or calls of one of its lines."""
    if _OPERATION.match(line):
        computation.operations.append(line)
    if constant := _CONSTANT.search(line):
        computation.constants.append(int(constant[1]))
    trips = _TRIPS.search(line)
    condition = re.search(r" while\(.*condition=%?([\w.\-]+)", line)
    for called in _CALLED.findall(line):
        for name in re.findall(r"[\w.\-]+", called):
            given = int(trips[1]) if trips else condition[1] if condition else 1
            computation.calls.append((name, given))


def _runs(computations: dict[str, _Computation], entry: str) -> dict[str, int]:
    """Count how often each computation runs; computations without collectives may be left out."""
    runs: collections.Counter[str] = collections.Counter()
    matters: dict[str, bool] = {}

    def find(name: str) -> bool:
        if name not in matters:
            here = computations.get(name, _Computation([], [], []))
            inner = [find(called) for called, _ in here.calls]
            matters[name] = bool(here.operations) or any(inner)
        return matters[name]

    def run(name: str, times: int) -> None:
        runs[name] += times
        for called, trips in computations[name].calls:
            if isinstance(trips, str):  # a scan counts up to the constant in its condition
                condition = computations.get(trips)
                trips = max(condition.constants, default=1) if condition else 1
            if find(called):
                run(called, times * trips)

    run(entry, 1)
    return runs


def _collective(computation: str, line: str, mesh: Mesh) -> tuple[str, _Collective]:
    """Parse the collective of a line; return its identity, and the collective."""
    name, result, kind, start = _OPERATION.match(line).groups()
    channel = re.search(r"channel_id=(\d+)", line)
    identity = f"{kind} {channel[1] if channel else name}"
    groups = _groups(line, mesh.size)
    size = groups.shape[1]
    nbytes = _sent(kind, _result(kind, result, bool(start)), size)
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
        kind, nbytes = "reduce-scatter", nbytes / 2  # XLA:TPU fuses all-reduce and slicing
    return identity, _Collective(kind, _axes(groups, mesh), nbytes)


def _result(kind: str, shape: str, is_start: bool) -> str:
    """Return the shapes of the result; a started operation also lists its operands."""
    arrays = [match[0] for match in _ARRAY.finditer(shape)]
    if is_start and kind == "all-gather":
        arrays = arrays[len(arrays) // 2 :]
    if is_start and kind == "collective-permute":
        arrays = arrays[:1]
    return " ".join(arrays)


def _sent(kind: str, result: str, size: int) -> float:
    """Return the bytes that each of `size` devices sends for a collective with this result."""
    factor = {"all-reduce": 2 * (size - 1) / size, "reduce-scatter": size - 1}
    others = 1.0 if kind == "collective-permute" else (size - 1) / size
    return _nbytes(result) * factor.get(kind, others)


def _nbytes(shapes: str) -> float:
    """Return the bytes of all arrays in a text such as (bf16[4,8], f32[])."""
    return sum(
        math.prod(map(int, filter(None, sizes.split(",")))) * (int(bits) / 8 if bits else 1)
        for _, bits, sizes in _ARRAY.findall(shapes)
    )


def _axes(groups: Int[np.ndarray, "n size"], mesh: Mesh) -> tuple[str, ...]:
    """Return the mesh axes along which the devices of a group differ."""
    places = np.stack(np.unravel_index(groups, mesh.devices.shape))  # [axes, n, size]
    differ = (places != places[..., :1]).any((1, 2))
    return tuple(axis for axis, is_used in zip(mesh.axis_names, differ, strict=True) if is_used)


def _groups(line: str, devices: int) -> Int[np.ndarray, "n size"]:
    """Return the n groups of devices that communicate, in any of XLA's notations."""
    if pairs := re.search(r"source_target_pairs=\{(\{.*?\})\}", line):
        return _listed(pairs[1])
    if listed := re.search(r"replica_groups=\{(\{.*?\})\}", line):
        return _listed(listed[1])
    if tiles := re.search(r"replica_groups=(\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?)", line):
        shape, _, order = tiles[1].partition("<=")
        return _ordered(order).reshape(_numbers(shape))
    if axes := re.search(r"replica_groups=mesh\[(.*?)\](.*?) \{(.*?)\}", line):
        return _along(*axes.groups())
    if "replica_groups=" in line and "replica_groups={}" not in line:
        raise ValueError(f"unknown groups: {line}")
    return np.arange(devices)[None]


def _listed(text: str) -> Int[np.ndarray, "n size"]:
    """Parse groups that are listed: {0,1},{2,3}."""
    return np.array([_numbers(group) for group in re.findall(r"\{(.*?)\}", text)])


def _ordered(text: str) -> np.ndarray:
    """Parse an order of devices: [4,2]T(1,0) is arange(8).reshape(4, 2).transpose(1, 0)."""
    shape, _, order = text.partition("T")
    numbers = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return numbers.transpose(_numbers(order)) if order else numbers


def _along(axes: str, order: str, taken: str) -> Int[np.ndarray, "n size"]:
    """Parse groups along mesh axes: 'a'=2,'b'=4 and device_ids=([4,2]T(1,0)) and 'a'."""
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", axes)}
    given = re.search(r"\((\[.*)\)", order)
    numbers = _ordered(given[1]) if given else np.arange(math.prod(sizes.values()))
    names = re.findall(r"'(\w+)'", taken)
    rest = [name for name in sizes if name not in names]
    numbers = numbers.reshape(list(sizes.values()))
    numbers = numbers.transpose([list(sizes).index(name) for name in (*rest, *names)])
    return numbers.reshape(-1, math.prod(sizes[name] for name in names))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
