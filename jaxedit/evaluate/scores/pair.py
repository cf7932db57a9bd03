"""Two pictures that are compared, with the numbers that several scores share."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two pictures of one size."""

    a: UInt8[np.ndarray, "H W C"]
    b: UInt8[np.ndarray, "H W C"]
    _known: dict[Callable, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def once(self, function: Callable[[np.ndarray, np.ndarray], Result]) -> Result:
        """Return `function(a, b)`, computed at the first call."""
        if function not in self._known:
            self._known[function] = function(self.a, self.b)
        return self._known[function]
