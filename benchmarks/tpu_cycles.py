"""The TPU compiler's own estimates of a compiled program, by category of operation."""

import collections
import re
from collections.abc import Callable

# A fusion counts where the first of these operations stands that it contains.
CATEGORIES = {
    "product": ("convolution", "dot"),
    "kernel": ("custom-call",),
    "concatenate": ("concatenate",),
    "pad": ("pad",),
    "update": ("dynamic-update-slice", "scatter"),
    "slice": ("dynamic-slice", "slice", "gather"),
    "copy": ("copy", "copy-start", "copy-done", "transpose", "reshape", "bitcast-convert"),
    "reduce": ("reduce", "reduce-window"),
}
KERNEL_SLOWNESS = 2.0  # assumed of attention kernels: times as long as products at the peak
_HEADER = re.compile(r"(ENTRY )?(%[\w.\-]+) \(.*\{\s*$")
_OPERATION = re.compile(r" = .*?[\])}] ([a-z][\w\-]*)\(")
_LOOP = re.compile(r" while\(.*condition=(%[\w.\-]+), body=(%[\w.\-]+)")

_NAME = re.compile(r'op_name="([^"]*)"')

Cycles = collections.Counter[str]


def category_of(operations: set[str], names: str = "") -> str:
    """Return the category of an operation that fuses others, whatever their names are."""
    return next((c for c, inside in CATEGORIES.items() if operations & set(inside)), "elementwise")


def cycles(text: str, category: Callable[[set[str], str], str] = category_of) -> Cycles:
    """Return the estimated cycles of a program by category, loops included.

    Calls of the attention kernel have no estimate.

    Args:
      text: the program's HLO.
      category: from the operations that run as one, and the names of loop and operation in the
        Python program, to a category.
    """
    bodies, entry = _bodies(text)
    found: Cycles = collections.Counter()

    def add(name: str, times: int, outer: str) -> None:
        for line in bodies[name]:
            names = outer + " ".join(_NAME.findall(line))
            if loop := _LOOP.search(line):
                limits = re.findall(r" s32\[\]\S* constant\((\d+)\)", "\n".join(bodies[loop[1]]))
                add(loop[2], times * max(map(int, limits), default=1), names)
            elif estimate := re.search(r'"estimated_cycles":"(\d+)"', line):
                found[category(_operations(bodies, line), names)] += times * int(estimate[1])

    add(entry, 1, "")
    return found


def table(found: Cycles, ghz: float) -> str:
    """Return a line with the milliseconds of each category at a clock, largest first."""
    parts = [f"{name} {n / ghz / 1e6:.2f}" for name, n in found.most_common() if n]
    return f"{found.total() / ghz / 1e6:.1f} ms estimated: " + ", ".join(parts)


def _bodies(text: str) -> tuple[dict[str, list[str]], str]:
    """Return the lines of each computation by its name, and the name of the entry."""
    bodies: dict[str, list[str]] = {}
    lines: list[str] = []
    entry = ""
    for line in text.splitlines():
        if header := _HEADER.match(line):
            lines = bodies.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        else:
            lines.append(line)
    return bodies, entry


def _operations(bodies: dict[str, list[str]], line: str) -> set[str]:
    """Return the names of an operation and of all operations that it calls."""
    named = _OPERATION.search(line)
    found = {named[1]} if named else set()
    for called in re.findall(r"calls=(%[\w.\-]+)", line):
        for inner in bodies[called]:
            found |= _operations(bodies, inner)
    return found
