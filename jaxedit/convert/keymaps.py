"""PyTorch state-dict keys to parameter paths: one table of rules per model, applied strictly.

A rule is (regex of the PyTorch key, path, layout). `{0}`, `{1}` … in the path are the regex groups;
a path component such as `blocks[{0}]` stacks the layers along a new leading axis.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxedit import tree


class Rule(NamedTuple):
    """How one family of PyTorch keys becomes one parameter path."""

    key: str
    path: str
    layout: Callable[[np.ndarray], np.ndarray]


def same(array: np.ndarray) -> np.ndarray:
    """No change."""
    return array


def linear(array: np.ndarray) -> np.ndarray:
    """(out, in) to (in, out)."""
    return array.T


def conv(array: np.ndarray) -> np.ndarray:
    """(out, in, h, w) to (h, w, in, out)."""
    return array.transpose(2, 3, 1, 0)


def flat(array: np.ndarray) -> np.ndarray:
    """Drop axes of length one."""
    return array.reshape([n for n in array.shape if n != 1] or [1])


def from_torch(
    state: Mapping[str, np.ndarray], rules: Iterable[Rule], ignored: Iterable[str] = ()
) -> tree.Tree:
    """Parameter tree from a PyTorch state dict.

    Args:
      state: PyTorch key to array.
      rules: the model's table; the first rule whose key matches the whole name is used.
      ignored: regexes of keys that carry no parameter.

    Returns:
      Nested dict of arrays.

    Raises:
      ValueError: keys that no rule and no `ignored` entry matches, all of them listed.
    """
    rules, ignored = [(re.compile(r.key), r) for r in rules], [re.compile(p) for p in ignored]
    single: dict[str, np.ndarray] = {}
    stacked: dict[str, dict[int, np.ndarray]] = {}
    unexpected = []
    for key, array in state.items():
        if any(p.fullmatch(key) for p in ignored):
            continue
        found = next(((m, r) for p, r in rules if (m := p.fullmatch(key))), None)
        if found is None:
            unexpected.append(key)
            continue
        match, rule = found
        path = rule.path.format(*match.groups())
        index = re.search(r"\[(\d+)\]", path)
        if index is None:
            single[path] = rule.layout(array)
        else:
            layers = stacked.setdefault(path.replace(index[0], ""), {})
            layers[int(index[1])] = rule.layout(array)
    if unexpected:
        raise ValueError(f"unexpected keys: {', '.join(sorted(unexpected))}")
    for path, layers in stacked.items():
        missing = sorted(set(range(max(layers) + 1)) - set(layers))
        if missing:
            raise ValueError(f"{path}: layers {missing} are missing")
        single[path] = np.stack([layers[i] for i in range(len(layers))])
    return tree.unflatten(single)
