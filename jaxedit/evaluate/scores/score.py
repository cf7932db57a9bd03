"""The interface of scores, and the decoded pictures that they compare."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxedit.data.pictures.canny import edge_map
from jaxedit.evaluate.sample import Sample


@dataclasses.dataclass(frozen=True)
class Edit:
    """A sample with its decoded pictures, all of one size."""

    sample: Sample
    source: UInt8[np.ndarray, "H W 3"]
    edited: UInt8[np.ndarray, "H W 3"]
    target: UInt8[np.ndarray, "H W 3"] | None
    mask: Bool[np.ndarray, "H W"] | None

    @functools.cached_property
    def edges(self) -> tuple[UInt8[np.ndarray, "H W 1"], UInt8[np.ndarray, "H W 1"]]:
        """Canny edges of the target and of the edit, 0 or 255; several scores compare them."""
        target, edited = (edge_map(picture)[..., :1] for picture in (self.target, self.edited))
        return target, edited


@dataclasses.dataclass(frozen=True)
class Score:
    """A number for each edit.

    `compute(edits, network)` returns a number for each edit: NaN where it is not defined (such as
    outside a mask that covers everything), infinity where pictures are equal and the formula says
    so. `network` is what `networks.load` returns for the name, None if the score needs none. All
    edits of a call have one size.
    """

    name: str
    compute: Callable[[Sequence[Edit], Any], Sequence[float]]
    needs: tuple[str, ...] = ()  # fields of `Sample` without which the score is not defined
    network: str = ""  # name in `networks.NETWORKS`
    factor: float = 1.0  # multiplies the mean in the papers' tables
    decimals: int = 2  # in the papers' tables
    is_higher_better: bool = True


@dataclasses.dataclass(frozen=True)
class SetScore:
    """One number for all edits together, such as FID.

    `features(edits, network)` returns an array for each edit, all of one shape; they are kept on
    disk. `reduce(features)` returns the number from all of them, stacked.
    """

    name: str
    features: Callable[[Sequence[Edit], Any], Sequence[np.ndarray]]
    reduce: Callable[[np.ndarray], float]
    needs: tuple[str, ...] = ()
    network: str = ""
    factor: float = 1.0
    decimals: int = 2
    is_higher_better: bool = False
