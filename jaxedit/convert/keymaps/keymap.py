"""The conversion of PyTorch state dicts to parameters and back, by a network's table of rules.

Both results are lazy tensors: nothing is read before it is needed. Each key must have its rule.
"""

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxedit import tree
from jaxedit.checkpoints.lazy_tensor import (
    ArrayLike,
    Box,
    LazyTensor,
    Shape,
    concatenate,
    view,
    whole,
)
from jaxedit.convert.keymaps.key_rules import STACK, KeyMap, Rule

_NUMBER = r"(0|[1-9]\d*)"


class _Place(NamedTuple):
    """The place of a key's array in the parameters."""

    path: str
    box: Box
    rule: Rule

    def in_torch(self, params: Mapping[str, ArrayLike]) -> LazyTensor:
        """Return the numbers at this place as the array of PyTorch."""
        return self.rule.layout.inverse(params[self.path], self.box)


def assemble(
    keymap: KeyMap,
    state: Mapping[str, ArrayLike],
    expected: Mapping[str, Shape] | None = None,
) -> dict[str, LazyTensor]:
    """Return the parameters of a state dict by path, not read yet.

    Args:
      state: PyTorch key to array, in memory or in a file.
      expected: parameter path to shape; None: as many layers as the keys count, in the sizes of
        the first key of each rule.

    Raises:
      ValueError: keys that are missing, unexpected, repeated (the same parameter by two names), of
        complex numbers or of another shape than expected; lists all by their PyTorch names.
    """
    found, origin = _renamed(keymap, state)
    if expected is None:
        expected = _suggested(keymap, {name: array.shape for name, array in found.items()})
    # The shape of each PyTorch array that the expected parameters need.
    places = dict(_places(keymap, expected))
    blank = {path: np.broadcast_to(np.float32(0), shape) for path, shape in expected.items()}
    shapes = {name: place.in_torch(blank).shape for name, place in places.items()}
    published = keymap.published(places)
    _complain(
        missing=[published.get(name, name) for name in shapes if name not in found],
        unexpected={origin[name] for name in found if name not in places},
        complex={
            origin[name]
            for name in places.keys() & found.keys()
            if np.dtype(found[name].dtype).kind == "c"
        },
        misshapen=[
            f"{origin[name]} {tuple(found[name].shape)} instead of {shape}"
            for name, shape in shapes.items()
            if name in found and tuple(found[name].shape) != shape
        ],
    )
    # Join each parameter from its arrays: the layers of a stack, or maps side by side.
    pieces: dict[str, list[tuple[Box, LazyTensor]]] = {path: [] for path in expected}
    for name, (path, box, rule) in places.items():
        piece = rule.layout.forward(found[name], stacked=rule.first is not None)
        pieces[path].append((box, piece))
    return {path: concatenate(expected[path], parts) for path, parts in pieces.items()}


def from_torch(
    keymap: KeyMap,
    state: Mapping[str, ArrayLike],
    expected: Mapping[str, Shape] | None = None,
) -> tree.Tree:
    """Read the parameters of a state dict, see `assemble`: nested dicts of numpy arrays."""
    joined = assemble(keymap, state, expected)
    return tree.unflatten({path: array[...] for path, array in joined.items()})


def to_torch(keymap: KeyMap, params: Mapping[str, ArrayLike]) -> dict[str, LazyTensor]:
    """Return the state dict of parameters by path, under the published names, not read yet.

    Raises:
      ValueError: paths without a rule; lists all.
    """
    places = dict(_places(keymap, {path: array.shape for path, array in params.items()}))
    published = keymap.published(places)
    return {published.get(name, name): place.in_torch(params) for name, place in places.items()}


def _renamed(
    keymap: KeyMap, state: Mapping[str, ArrayLike]
) -> tuple[dict[str, ArrayLike], dict[str, str]]:
    """Return the arrays and the keys of a state dict, both by the table's names."""
    names = keymap.canonical(state)
    found, origin, repeated = {}, {}, []
    for key, array in state.items():
        if any(re.fullmatch(pattern, key) for pattern in keymap.ignored):
            continue
        for name, part in _cut(key, array, names.get(key, (key,))):
            if name in found:
                repeated.append(f"{origin[name]} and {key}")
            found[name], origin[name] = part, key
    _complain(repeated=repeated)
    return found, origin


def _cut(key: str, array: ArrayLike, names: tuple[str, ...]) -> Iterator[tuple[str, ArrayLike]]:
    """Yield (name, part) for the equal parts of an array along its first axis."""
    if len(names) == 1:
        yield names[0], array
    elif names:
        step = _share(key, (*array.shape, 1)[0], len(names))  # a scalar has one row
        (_, *others), axes = whole(array.shape), tuple(range(len(array.shape)))
        for n, name in enumerate(names):
            yield name, view(array, axes, (slice(n * step, (n + 1) * step), *others))


def _share(name: str, length: int, parts: int) -> int:
    """Return the length of each of several equal parts."""
    if length % parts:
        raise ValueError(f"{name}: {length} rows or columns are not {parts} equal parts")
    return length // parts


def _suggested(keymap: KeyMap, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of parameters by path, from shapes by the table's names.

    Names without a rule, or of a rank that the rule excludes, are ignored.
    """
    found: dict[str, Shape] = {}
    heights: dict[str, int] = {}
    templates = [(key, rule) for rule in keymap.rules for key in rule.keys]
    for name, shape in shapes.items():
        rule, numbers = _first_fit(templates, name)
        if rule is None or not rule.layout.fits(shape):
            continue
        inner = tuple(shape[axis] for axis in rule.layout.axes)
        if len(rule.keys) > 1:
            inner = (*inner[:-1], inner[-1] * len(rule.keys))
        if rule.first is None:
            found.setdefault(rule.path.format(*numbers), inner)
        else:
            path, height = STACK.sub("", rule.path), int(numbers[0]) - rule.first + 1
            found.setdefault(path, inner)
            # No state dict has more layers than keys, whatever the numbers in its keys.
            heights[path] = min(max(heights.get(path, 0), height), len(shapes))
    return {p: (heights[p], *shape) if p in heights else shape for p, shape in found.items()}


def _places(keymap: KeyMap, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, _Place]]:
    """Yield (the table's name, place) for each key that parameters of `shapes` have."""
    templates = [(STACK.sub("", rule.path), rule) for rule in keymap.rules]
    rules = {path: _first_fit(templates, path) for path in shapes}
    unknown = sorted(path for path, (rule, _) in rules.items() if rule is None)
    if unknown:
        raise ValueError(f"parameters without a key in PyTorch: {', '.join(unknown)}")
    for path, (rule, numbers) in rules.items():
        if rule.first is None:
            yield from _parts(rule, path, numbers, whole(shapes[path]))
        else:
            layers, *inner = whole(shapes[path])
            for n in range(layers.stop):
                yield from _parts(rule, path, (n + rule.first,), (slice(n, n + 1), *inner))


def _parts(rule: Rule, path: str, numbers: tuple, box: Box) -> Iterator[tuple[str, _Place]]:
    """Yield (name, place) for the keys that a box of a parameter is joined from."""
    if len(rule.keys) == 1:
        yield rule.keys[0].format(*numbers), _Place(path, box, rule)
        return
    step = _share(path, box[-1].stop, len(rule.keys))
    for n, key in enumerate(rule.keys):
        part = (*box[:-1], slice(n * step, (n + 1) * step))
        yield key.format(*numbers), _Place(path, part, rule)


def _first_fit(
    templates: Iterable[tuple[str, Rule]], text: str
) -> tuple[Rule | None, tuple[str, ...]]:
    """Return the first rule whose template fits a key or path, and the numbers in the text."""
    for template, rule in templates:
        if match := _pattern(template).fullmatch(text):
            return rule, match.groups()
    return None, ()


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Return the regex of a template."""
    return re.compile(re.escape(template).replace(r"\{\}", _NUMBER))


def _complain(**problems: Collection[str]) -> None:
    """Raise ValueError with all keys by kind of problem, if there are any."""
    lists = [f"{kind} keys: {', '.join(sorted(keys))}" for kind, keys in problems.items() if keys]
    if lists:
        raise ValueError("; ".join(lists))
