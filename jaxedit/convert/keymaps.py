"""PyTorch state dicts to parameters and back: one table of rules per network, read both ways.

A rule joins the template of a PyTorch key to that of a parameter path. `{}` stands for a number,
the same on both sides; `[{}]` in a path stacks the arrays of all numbers along a new first axis,
and `[{}-1]` does so from number one. Nothing is read before it is needed: arrays of a state dict,
parameters and converted keys are views.
"""

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxedit import tree
from jaxedit.convert.views import ArrayLike, Box, Joined, View, whole

Shape = tuple[int, ...]
_NUMBER = r"(0|[1-9]\d*)"
_STACK = re.compile(r"\[\{\}(?:-(\d+))?\]")


class Layout(NamedTuple):
    """How the axes of an array in PyTorch become those of the parameter.

    Attributes:
      axes: for each axis of the parameter, that of the array in PyTorch.
      rank: number of axes in PyTorch; those that `axes` does not name have length one.
    """

    axes: tuple[int, ...]
    rank: int

    def forward(self, array: ArrayLike, *, stacked: bool = False) -> View:
        """An array of PyTorch as the parameter, or as one layer [1,...] of a stack."""
        return View(array, (None,) * stacked + self.axes, whole(array.shape))

    def inverse(self, param: ArrayLike, box: Box) -> View:
        """A box of a parameter, or of one layer of a stack, as the array of PyTorch."""
        skip = len(box) - len(self.axes)
        sources = {axis: skip + n for n, axis in enumerate(self.axes)}
        return View(param, tuple(sources.get(axis) for axis in range(self.rank)), box)

    def fits(self, shape: Shape) -> bool:
        """Whether an array in PyTorch may have this shape."""
        units = (n == 1 for axis, n in enumerate(shape) if axis not in self.axes)
        return len(shape) == self.rank and all(units)


VECTOR = Layout((0,), 1)
TABLE = Layout((0, 1), 2)
LINEAR = Layout((1, 0), 2)  # (out, in) to (in, out)
CONV = Layout((2, 3, 1, 0), 4)  # (out, in, h, w) to (h, w, in, out)


class Rule(NamedTuple):
    """How one family of PyTorch keys becomes one family of parameters.

    Attributes:
      key: template of the key; several keys are joined, in equal parts, along the last axis.
      path: template of the path, with as many `{}` as the key, or with one `[{}]`.
      layout: of the axes.
    """

    key: str | tuple[str, ...]
    path: str
    layout: Layout = VECTOR

    @property
    def keys(self) -> tuple[str, ...]:
        """Templates of all keys."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def first(self) -> int | None:
        """The number of the first layer of a stack; None if nothing is stacked."""
        found = _STACK.search(self.path)
        return int(found[1] or 0) if found else None


def dense(key: str, path: str) -> tuple[Rule, ...]:
    """Rules of a linear map with a bias."""
    return Rule(f"{key}.weight", f"{path}/kernel", LINEAR), Rule(f"{key}.bias", f"{path}/bias")


def conv(key: str, path: str) -> tuple[Rule, ...]:
    """Rules of a convolution with a bias."""
    return Rule(f"{key}.weight", f"{path}/kernel", CONV), Rule(f"{key}.bias", f"{path}/bias")


def norm(key: str, path: str) -> tuple[Rule, ...]:
    """Rules of a normalisation with a bias."""
    return Rule(f"{key}.weight", f"{path}/scale"), Rule(f"{key}.bias", f"{path}/bias")


def under(key: str, path: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Rules with a prefix on both sides."""
    return tuple(Rule(tuple(key + k for k in r.keys), path + r.path, r.layout) for r in rules)


Renaming = Callable[[Collection[str]], Mapping[str, tuple[str, ...]]]


def renaming(*pairs: tuple[str, *tuple[str, ...]]) -> Renaming:
    r"""The renaming of keys by regexes of whole keys and their replacements (`\1`, `\2`, ...).

    Several replacements cut the array into equal parts along its first axis.
    """

    def rename(keys: Collection[str]) -> dict[str, tuple[str, ...]]:
        renamed = {}
        for key in keys:
            for pattern, *names in pairs:
                if match := re.fullmatch(pattern, key):
                    renamed[key] = tuple(match.expand(name) for name in names)
                    break
        return renamed

    return rename


class KeyMap(NamedTuple):
    """The key map of a network.

    Attributes:
      rules: the table; the first rule that fits a key, or a path, is used.
      ignored: regexes of keys that carry no parameter.
      canonical: from all keys of a state dict, those that the table knows by other names: key to
        its names in the table; several names cut the array along its first axis, none ignores it.
      published: from all keys in the table's names, those with other names in the release.
    """

    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()
    canonical: Renaming = renaming()
    published: Callable[[Collection[str]], Mapping[str, str]] = lambda keys: {}


class _Place(NamedTuple):
    """Where in the parameters the array of one key belongs."""

    path: str
    box: Box
    rule: Rule


def assemble(
    keymap: KeyMap,
    state: Mapping[str, ArrayLike],
    expected: Mapping[str, Shape] | None = None,
) -> dict[str, Joined]:
    """The parameters of a state dict, not read yet.

    Args:
      keymap: of the network.
      state: PyTorch key to array, in memory or in a file.
      expected: parameter path to shape; if None, all layers up to the last one in `state`, in the
        sizes of the first key of each family.

    Returns:
      Parameter path to array.

    Raises:
      ValueError: keys that are missing, unexpected, given twice or of another shape, all of them
        listed by their PyTorch names.
    """
    found, origin = _canonical(keymap, state)
    if expected is None:
        expected = shapes_of(keymap, {name: array.shape for name, array in found.items()})
    places = dict(_places(keymap, expected))
    shapes = {name: _nothing(place, expected).shape for name, place in places.items()}
    published = keymap.published(places)
    _complain(
        missing=[published.get(name, name) for name in shapes if name not in found],
        unexpected=sorted({origin[name] for name in found if name not in places}),
        misshapen=[
            f"{origin[name]} {found[name].shape} instead of {shape}"
            for name, shape in shapes.items()
            if name in found and tuple(found[name].shape) != shape
        ],
    )
    pieces: dict[str, list[tuple[Box, View]]] = {path: [] for path in expected}
    for name, (path, box, rule) in places.items():
        view = rule.layout.forward(found[name], stacked=rule.first is not None)
        pieces[path].append((box, view))
    return {path: Joined(tuple(expected[path]), tuple(parts)) for path, parts in pieces.items()}


def from_torch(
    keymap: KeyMap,
    state: Mapping[str, ArrayLike],
    expected: Mapping[str, Shape] | None = None,
) -> tree.Tree:
    """`assemble`, read into memory: a nested dict of numpy arrays."""
    joined = assemble(keymap, state, expected)
    return tree.unflatten({path: array[...] for path, array in joined.items()})


def to_torch(keymap: KeyMap, params: Mapping[str, ArrayLike]) -> dict[str, View]:
    """The state dict of parameters, under the published names; read when a view is indexed.

    Args:
      keymap: of the network.
      params: parameter path to array.

    Raises:
      ValueError: paths that belong to no part of the network, all of them listed.
    """
    places = dict(_places(keymap, {path: tuple(array.shape) for path, array in params.items()}))
    published = keymap.published(places)
    return {
        published.get(name, name): rule.layout.inverse(params[path], box)
        for name, (path, box, rule) in places.items()
    }


def shapes_of(keymap: KeyMap, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Parameter path to shape, as far as the shapes of a state dict in the table's names tell.

    Keys without a rule, or of a rank that their rule excludes, say nothing; of several layers the
    first key gives the shape, and a stack is as high as its highest number.
    """
    found: dict[str, Shape] = {}
    layers: dict[str, int] = {}
    for key, shape in shapes.items():
        rule, numbers = _rule_of_key(keymap, key)
        if rule is None or not rule.layout.fits(shape):
            continue
        inner = tuple(shape[axis] for axis in rule.layout.axes)
        inner = (*inner[:-1], *(n * len(rule.keys) for n in inner[-1:]))  # a scalar has no axis
        if rule.first is None:
            found.setdefault(rule.path.format(*numbers), inner)
        else:
            path = _STACK.sub("", rule.path)
            layers[path] = max(layers.get(path, 0), int(numbers[0]) - rule.first + 1)
            found.setdefault(path, inner)
    # No state dict has more layers than keys, whatever the numbers in its keys.
    heights = {path: min(height, len(shapes)) for path, height in layers.items()}
    return {p: (heights[p], *shape) if p in heights else shape for p, shape in found.items()}


def _canonical(
    keymap: KeyMap, state: Mapping[str, ArrayLike]
) -> tuple[dict[str, ArrayLike], dict[str, str]]:
    """The arrays of a state dict, and their keys in it, by the table's names."""
    renamed = keymap.canonical(state)
    found, origin, twice = {}, {}, []
    for key, array in state.items():
        if any(re.fullmatch(pattern, key) for pattern in keymap.ignored):
            continue
        names = renamed.get(key, (key,))
        for name, part in zip(names, _cut(key, array, len(names)), strict=True):
            if name in found:
                twice.append(f"{key} and {origin[name]}")
            found[name], origin[name] = part, key
    _complain(repeated=twice)
    return found, origin


def _cut(key: str, array: ArrayLike, parts: int) -> list[ArrayLike]:
    """Equal parts of an array along its first axis."""
    if parts < 2:
        return [array] * parts
    if not array.shape or array.shape[0] % parts:
        raise ValueError(f"{key}: {tuple(array.shape)} does not divide into {parts} parts")
    axes, (first, *others) = tuple(range(len(array.shape))), whole(array.shape)
    step = first.stop // parts
    starts = range(0, first.stop, step)
    return [View(array, axes, (slice(start, start + step), *others)) for start in starts]


def _places(keymap: KeyMap, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, _Place]]:
    """(key, its place) of every key, in the table's names, that parameters of `shapes` have."""
    rules = {path: _rule_of_path(keymap, path) for path in shapes}
    unknown = sorted(path for path, (rule, _) in rules.items() if rule is None)
    if unknown:
        raise ValueError(f"parameters that have no PyTorch key: {', '.join(unknown)}")
    for path, (rule, numbers) in rules.items():
        axes = list(whole(shapes[path]))
        for layer in [None] if rule.first is None else range(axes.pop(0).stop):
            top, name = [], numbers
            if layer is not None:
                top, name = [slice(layer, layer + 1)], (layer + rule.first,)
            for part, key in enumerate(rule.keys):
                box = (*top, *_part(axes, part, len(rule.keys)))
                yield key.format(*name), _Place(path, box, rule)


def _part(box: list[slice], part: int, parts: int) -> Box:
    """The box of one of equal parts along the last axis."""
    steps = (axis.stop // parts for axis in box[-1:])
    return (*box[:-1], *(slice(part * step, (part + 1) * step) for step in steps))


def _nothing(place: _Place, shapes: Mapping[str, Shape]) -> View:
    """What `place` holds of a parameter, with the right shape and no memory."""
    blank = np.broadcast_to(np.float32(0), shapes[place.path])
    return place.rule.layout.inverse(blank, place.box)


def _rule_of_key(keymap: KeyMap, key: str) -> tuple[Rule | None, tuple[str, ...]]:
    """The first rule that knows a key, and the numbers in the key."""
    for rule in keymap.rules:
        for template in rule.keys:
            if match := _pattern(template).fullmatch(key):
                return rule, match.groups()
    return None, ()


def _rule_of_path(keymap: KeyMap, path: str) -> tuple[Rule | None, tuple[str, ...]]:
    """The first rule that knows a path, and the numbers in the path."""
    for rule in keymap.rules:
        if match := _pattern(_STACK.sub("", rule.path)).fullmatch(path):
            return rule, match.groups()
    return None, ()


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", _NUMBER))


def _complain(**problems: list[str]) -> None:
    """Raise ValueError with all problems, if there is any."""
    lists = [f"{kind} keys: {', '.join(keys)}" for kind, keys in problems.items() if keys]
    if lists:
        raise ValueError("; ".join(lists))
