"""The interface of readers: published pairs with encoded pictures."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Example(NamedTuple):
    """A published pair.

    Attributes: key: unique in the data set, stable from run to run. source, target: encoded
      pictures, as published. instruction: the edit instruction; for maps the caption of the target.
      mask: encoded picture, white where the edit may change pixels; None if not published. group:
      name shared by pairs that must stay in one split, for example a conversation; default: the
        pair is a group by itself.
      task: edit, depth, canny, segmentation, hed or recon.
      edit_type: PIE-Bench's 0 ... 9, or -1.
      edit_type_raw: the edit type in the data set's own words.
      turn: 1, 2, ... in a conversation, 0 otherwise.
      source_caption, target_caption: what the pictures show, or "".
      score: the data set's own quality score, or -1.
    """

    key: str
    source: bytes
    target: bytes
    instruction: str
    mask: bytes | None = None
    group: str = ""
    task: str = "edit"
    edit_type: int = -1
    edit_type_raw: str = ""
    turn: int = 0
    source_caption: str = ""
    target_caption: str = ""
    score: float = -1.0


class Drop(NamedTuple):
    """A published row that is not a pair for training; `reason` is one of a few texts, to count."""

    key: str
    reason: str


@runtime_checkable
class Published(Protocol):
    """A data set in its published layout.

    The constructor checks the directory; its ConfigError says which file is missing. Instances are
    picklable: worker processes get copies.
    """

    name: str  # name of the data set; the first part of every id
    keeps_labels: bool  # whether sources are label maps, which JPEG would damage

    def parts(self) -> Sequence[Any]:
        """Return the data set as picklable pieces of a few hundred rows, always the same pieces."""

    def read(self, part: Any) -> Iterator[Example | Drop]:
        """Yield the rows of a piece in order; a damaged row is a `Drop`, never an exception.

        Raises:
          OSError, ValueError: the whole piece cannot be read; the message names its file.
        """
