"""The interface of readers: published pairs with encoded pictures."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Example(NamedTuple):
    """A published pair; pictures are encoded, as published."""

    key: str  # unique in the data set, stable from run to run
    source: bytes
    target: bytes
    instruction: str  # for maps the caption of the target
    mask: bytes | None = None  # white where the edit may change pixels; None if not published
    # name shared by pairs that must stay in one split, for example by the turns of a conversation;
    # empty: the pair is a group by itself
    group: str = ""
    task: str = "edit"  # edit, depth, canny, segmentation, hed or recon
    edit_type: int = -1  # PIE-Bench's 0 ... 9, or -1
    edit_type_raw: str = ""  # the edit type in the data set's own words
    turn: int = 0  # 1, 2, ... in a conversation, 0 otherwise
    source_caption: str = ""  # what the source shows
    target_caption: str = ""  # what the target shows
    score: float = -1.0  # the data set's own quality score, or -1


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
