"""The data of a run, as the loop takes them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxedit.data.batch import EditBatch
from jaxedit.data.validation import ValidationRows


class TrainingData(NamedTuple):
    """Batches to train on, rows to draw, and rows to evaluate.

    batches_from: (finished steps, rows) -> these rows of the next batch, the one after, ...; equal
      arguments give equal batches, so that a resumed run equals one that never stopped.
    examples: rows of the sample sheets.
    validation: rows of the validation loss; None: there is none.
    validation_examples: rows of a second sheet; None: there is none.
    """

    batches_from: Callable[[int, range], Iterator[EditBatch]]
    examples: EditBatch
    validation: ValidationRows | None = None
    validation_examples: EditBatch | None = None
