"""The pictures of a store's rows whose codes are stored, as squares."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from jaxedit.data import row_variants
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.store import Store, damaged
from jaxedit.data.stored_codes import EDGES, SOURCE, TARGET
from jaxedit.data.transforms import Fit


@dataclasses.dataclass(frozen=True)
class EncodedPictures:
    """The pictures of each row of a store, by the number of the row; dropped rows have theirs."""

    store: Store
    pictures: tuple[str, ...]  # see `StoredCodes`
    size: int  # pixels of the square
    fit: Fit

    def __getitem__(self, number: int) -> UInt8[np.ndarray, "P H W 3"]:
        """Return the pictures of the row with this number.

        Raises:
          OSError: the record or a picture in it is damaged.
        """
        record = self.store.read(number)
        try:
            row = row_variants.decode(record, self.size, style="code", fit=self.fit)
        except Exception as error:  # each decoder fails in its own way on damaged files
            raise damaged(self.store.directory, number, error) from error
        found = {SOURCE: row.source, TARGET: row.target}
        if EDGES in self.pictures:
            found[EDGES] = edge_map(row.target)
        return np.stack([found[name] for name in self.pictures])
