"""Variants of a store's rows: as stored, swapped, with another map, or without a change."""

import bisect
import copy
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxedit.config import require
from jaxedit.data import prompts
from jaxedit.data.pictures import mask_picture, photo
from jaxedit.data.record import CAPTIONED, TASKS, Record
from jaxedit.data.sources import Row, square_row
from jaxedit.data.store import Store, damaged
from jaxedit.data.stored_codes import EDGES, SOURCE, TARGET, Encoding, StoredCodes
from jaxedit.data.toybox.language import RECON_PROMPT
from jaxedit.data.transforms import CROP, Fit

# variant -> tasks of the rows that it applies to
VARIANTS: dict[str, tuple[str, ...]] = {
    "edit": ("edit", "recon", *prompts.TASKS),  # rows as stored, maps with their prompt
    "add": ("edit",),
    "remove": ("edit",),  # the pictures swapped where the text begins with "Add"
    "add_remove": ("edit",),  # every row twice, as "add" and as "remove"
    "depth": ("depth",),
    "canny": CAPTIONED,  # the edges of the target, or the row's own edge map
    "segmentation": ("segmentation",),
    "recon": TASKS,  # a picture and itself
}
_REMOVE = 3  # PIE-Bench's type
_PHOTOS = ("edit", "recon")  # tasks whose source is a photo, not a map


class RowVariant:
    """Rows of several stores, store after store, as squares of `size` pixels."""

    def __init__(
        self,
        stores: Sequence[Store],
        variant: str,
        size: int,
        *,
        style: str = "code",
        fit: Fit = CROP,
    ) -> None:
        """Check the first row of each store.

        Args:
          variant: a key of `VARIANTS`.

        Raises:
          ConfigError: the variant is unknown or does not fit a store's rows, or stored pictures are
            smaller than `size` although the published pictures are larger.
          OSError: a first row is damaged.
        """
        require(variant in VARIANTS, f"variant {variant!r}: expected one of {', '.join(VARIANTS)}")
        self._stores, self._variant, self._size = tuple(stores), variant, size
        self._style, self._fit = style, fit
        self._ends = list(itertools.accumulate(len(store) for store in stores))
        self._selected: np.ndarray | None = None
        self._codes: tuple[StoredCodes, ...] = ()
        self._has_pictures = True
        for store in stores:
            first = store[0]
            self._require_fits(store, 0, first)
            require_large(store, first, size)

    def __len__(self) -> int:
        """Return the number of rows; "add_remove" has two rows per pair."""
        if self._selected is not None:
            return len(self._selected)
        return self._ends[-1] * (2 if self._variant == "add_remove" else 1)

    def __getitem__(self, index: int) -> Row:
        """Return row `index`.

        Raises:
          ConfigError: the variant does not fit the row's task.
          OSError: the record or a picture in it is damaged.
        """
        variant = self._variant
        if self._selected is not None:
            index = int(self._selected[index])
        if variant == "add_remove":
            index, is_remove = divmod(index, 2)
            variant = "remove" if is_remove else "add"
        which = bisect.bisect_right(self._ends, index)
        store = self._stores[which]
        index -= self._ends[which - 1] if which else 0
        record = store[index]
        self._require_fits(store, index, record)
        codes = None
        if self._codes:
            names = pictures_of(record, variant)
            codes = self._codes[which].pair(store.number_of(index), *names)
        changed = apply_variant(record, variant)
        if not self._has_pictures:
            text = instruction_of(changed, self._style)
            return Row(None, None, text, None, changed.task, changed.edit_type, codes)
        try:
            row = decode(changed, self._size, style=self._style, fit=self._fit)
            return row._replace(codes=codes)
        except Exception as error:  # each decoder fails in its own way on damaged files
            raise damaged(store.directory, store.number_of(index), error) from error

    def keys(self) -> np.ndarray:
        """See `FiniteSource`; the two rows of a pair in "add_remove" have the same key."""
        keys = np.concatenate([store.keys() for store in self._stores])
        keys = np.repeat(keys, 2) if self._variant == "add_remove" else keys
        return keys if self._selected is None else keys[self._selected]

    def select(self, rows: np.ndarray) -> "RowVariant":
        """See `FiniteSource`."""
        part = copy.copy(self)
        part._selected = rows if self._selected is None else self._selected[rows]
        return part

    @property
    def stores(self) -> tuple[Store, ...]:
        """Return the stores."""
        return self._stores

    def with_codes(self, encoding: Encoding, *, has_pictures: bool) -> "RowVariant":
        """Return the same rows with the codes that are stored beside them.

        Args:
          has_pictures: also decode the pictures.

        Raises:
          NoCodes: a store lacks them.
        """
        part = copy.copy(self)
        part._codes = tuple(StoredCodes.load(store, encoding) for store in self._stores)
        part._has_pictures = has_pictures
        return part

    def _require_fits(self, store: Store, index: int, record: Record) -> None:
        require(
            record.task in VARIANTS[self._variant],
            f"{store.directory}: row {store.number_of(index)} is of the task {record.task}: the "
            f"variant {self._variant} needs {' or '.join(VARIANTS[self._variant])}",
        )


def apply_variant(record: Record, variant: str) -> Record:
    """Return the variant of a record.

    "remove" swaps the pictures and replaces "Add " by "Remove "; a text that does not begin with
    "Add " stays an addition. "canny" empties the source, from which `decode` then makes the edges
    of the target.

    Args:
      record: a record that fits the variant, with encoded pictures.
      variant: a key of `VARIANTS` except add_remove.

    Source: EditAR's training data.
    """
    files = {SOURCE: record.source, TARGET: record.target, EDGES: b""}
    source, target = pictures_of(record, variant)
    changed = record._replace(source=files[source], target=files[target])
    if source == EDGES:
        return changed._replace(task="canny")
    if variant == "recon":
        return changed._replace(instruction=RECON_PROMPT, task="recon", edit_type=-1)
    if (source, target) == (TARGET, SOURCE):
        text = "Remove " + record.instruction[len("Add ") :]
        return changed._replace(instruction=text, edit_type=_REMOVE)
    return changed


def pictures_of(record: Record, variant: str) -> tuple[str, str]:
    """Return which pictures of a record are source and target of its variant, by their names."""
    if variant == "remove" and record.instruction.startswith(("Add ", "add ")):
        return TARGET, SOURCE
    if variant == "canny" and record.task != "canny":
        return EDGES, TARGET
    if variant == "recon":
        picture = SOURCE if record.task in _PHOTOS else TARGET
        return picture, picture
    return SOURCE, TARGET


def decode(record: Record, size: int, *, style: str, fit: Fit) -> Row:
    """Decode a record: pictures as squares, and the text as an instruction.

    The mask of an edit without a known mask covers the whole picture.
    """
    target = photo.decode(record.target, "target")
    source = photo.decode(record.source, "source") if record.source else None
    mask = Image.new("L", (source or target).size, 0 if record.task == "recon" else 255)
    if record.mask is not None and record.task == "edit":
        mask = mask_picture.decode(record.mask, "mask")
    return square_row(
        source,
        target,
        mask,
        size=size,
        fit=fit,
        instruction=instruction_of(record, style),
        task=record.task,
        edit_type=record.edit_type,
    )


def instruction_of(record: Record, style: str) -> str:
    """Return the text of a record, of a map as an instruction in a style of `prompts`."""
    is_map, text = record.task in prompts.TASKS, record.instruction
    return prompts.prompt(record.task, text, style) if is_map else text


def require_large(store: Store, record: Record, size: int) -> None:
    """Raise ConfigError if a store keeps pictures smaller than `size` and than published."""
    kept = min(photo.decode(record.target, "target").size)
    require(
        kept >= min(size, *record.orig_hw),
        f"data.image_size={size}: {store.directory} keeps pictures of {kept} pixels, smaller than "
        f"published: convert it with --store_px={size}",
    )
