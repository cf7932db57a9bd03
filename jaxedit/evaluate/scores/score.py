"""The interface of scores, and the decoded pictures that they compare."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from jaxedit.data.pictures.canny import edge_map
from jaxedit.evaluate.sample import Sample
from jaxedit.evaluate.scores.pair import Pair

Part = Literal["whole", "background", "edited"]


@dataclasses.dataclass(frozen=True)
class Edit:
    """A sample with its decoded pictures, all of one size."""

    sample: Sample
    source: UInt8[np.ndarray, "H W 3"]
    edited: UInt8[np.ndarray, "H W 3"]
    target: UInt8[np.ndarray, "H W 3"] | None
    mask: Bool[np.ndarray, "H W"] | None

    _pairs: dict[Part, Pair] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def pair(self, part: Part) -> Pair:
        """Return a part of the source and the same part of the edit; several scores compare them.

        Both are black outside the part.
        """
        if part not in self._pairs:
            self._pairs[part] = Pair(self.keep(self.source, part), self.keep(self.edited, part))
        return self._pairs[part]

    @functools.cached_property
    def edges(self) -> Pair:
        """Return Canny edges of the target and of the edit, 0 or 255, for several scores."""
        return Pair(*(edge_map(picture)[..., :1] for picture in (self.target, self.edited)))

    def keep(self, picture: UInt8[np.ndarray, "H W 3"], part: Part) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture, black outside a part."""
        if part == "whole":
            return picture
        # Numpy is slow along an axis of three values
        values = np.repeat(self.mask_of(part), 3, axis=1).reshape(picture.shape)
        return picture * values

    def mask_of(self, part: Literal["background", "edited"]) -> Bool[np.ndarray, "H W"]:
        """Return True at the pixels of a part."""
        return self.mask if part == "edited" else ~self.mask


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
