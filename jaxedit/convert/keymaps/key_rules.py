"""The parts of a key map: the layouts of arrays, the rules, and the table of a network's rules.

A rule maps the template of a PyTorch key to the template of a parameter path. `{}` stands for a
number, the same on both sides; `[{}]` in a path stacks the arrays of all numbers along a new first
axis, and `[{}-1]` stacks them from number 1 on.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from jaxedit.checkpoints.lazy_tensor import ArrayLike, Box, LazyTensor, Shape, view, whole

STACK = re.compile(r"\[\{\}(?:-(\d+))?\]")


class Layout(NamedTuple):
    """The order of the axes of a parameter, compared to its array in PyTorch.

    Attributes:
      axes: for each axis of the parameter, the axis of the array in PyTorch.
      rank: number of axes in PyTorch; axes that `axes` does not name have length 1.
    """

    axes: tuple[int, ...]
    rank: int

    def forward(self, array: ArrayLike, *, stacked: bool = False) -> LazyTensor:
        """Return an array of PyTorch as the parameter, or as a layer [1,...] of a stack."""
        return view(array, (None,) * stacked + self.axes, whole(array.shape))

    def inverse(self, param: ArrayLike, box: Box) -> LazyTensor:
        """Return a box of a parameter, or of a layer of a stack, as the array of PyTorch."""
        skip = len(box) - len(self.axes)
        sources = {axis: skip + n for n, axis in enumerate(self.axes)}
        return view(param, tuple(sources.get(axis) for axis in range(self.rank)), box)

    def fits(self, shape: Shape) -> bool:
        """Return whether an array in PyTorch may have this shape."""
        units = (n == 1 for axis, n in enumerate(shape) if axis not in self.axes)
        return len(shape) == self.rank and all(units)


VECTOR = Layout((0,), 1)
TABLE = Layout((0, 1), 2)
LINEAR = Layout((1, 0), 2)  # (out, in) to (in, out)
CONV = Layout((2, 3, 1, 0), 4)  # (out, in, h, w) to (h, w, in, out)


class Rule(NamedTuple):
    """The map from a template of PyTorch keys to a template of parameter paths.

    Attributes:
      key: template of the key; several keys are joined, in equal parts, along the last axis.
      path: template of the path, with as many `{}` as the key, or with one `[{}]`.
    """

    key: str | tuple[str, ...]
    path: str
    layout: Layout = VECTOR

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the templates of all keys."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def first(self) -> int | None:
        """Return the number of the first layer of a stack; None if nothing is stacked."""
        found = STACK.search(self.path)
        return int(found[1] or 0) if found else None


def dense(key: str, path: str) -> tuple[Rule, ...]:
    """Return the rules of a linear map with a bias."""
    return Rule(f"{key}.weight", f"{path}/kernel", LINEAR), Rule(f"{key}.bias", f"{path}/bias")


def conv(key: str, path: str) -> tuple[Rule, ...]:
    """Return the rules of a convolution with a bias."""
    return Rule(f"{key}.weight", f"{path}/kernel", CONV), Rule(f"{key}.bias", f"{path}/bias")


def norm(key: str, path: str) -> tuple[Rule, ...]:
    """Return the rules of a normalisation with a bias."""
    return Rule(f"{key}.weight", f"{path}/scale"), Rule(f"{key}.bias", f"{path}/bias")


def under(key: str, path: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules with a prefix on both sides."""
    return tuple(Rule(tuple(key + k for k in r.keys), path + r.path, r.layout) for r in rules)


Renaming = Callable[[Collection[str]], Mapping[str, tuple[str, ...]]]


def renaming(*pairs: tuple[str, *tuple[str, ...]]) -> Renaming:
    r"""Return a renaming by pairs of a regex of whole keys and its replacements (`\1`, ...).

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
      canonical: takes all keys of a state dict; returns key to names in the table, for keys with
        other names there. Several names cut the array along its first axis; () ignores the key.
      published: takes all names in the table; returns name to key, for other names in the release.
    """

    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()
    canonical: Renaming = renaming()
    published: Callable[[Collection[str]], Mapping[str, str]] = lambda keys: {}
