"""What a reader of a published data set gives: pairs as they lie on disk, not yet decoded."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol


class Example(NamedTuple):
    """One published pair.

    Attributes:
      key: unique in the data set, stable from run to run.
      source, target: encoded pictures, as published.
      instruction: the edit's text; for maps the caption of the target.
      mask: encoded picture, white where the edit may change pixels; None if not published.
      group: pairs that must stay together in one split, for example a conversation; default: alone.
      task: edit, depth, canny, segmentation, hed or recon.
      edit_type: PIE-Bench's 0 ... 9, or -1.
      edit_type_raw: the data set's own word for it.
      turn: 1, 2, ... in a conversation, 0 outside.
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
    """A published row that is not a pair to train on; `reason` is one of few words, to count."""

    key: str
    reason: str


class Published(Protocol):
    """A data set in its published layout.

    Made from its directory, which is checked at once: ConfigError says which file is missing.
    Picklable: worker processes get copies.
    """

    name: str  # of the data set; the first part of every id
    keeps_labels: bool  # sources are label maps, which JPEG would damage

    def parts(self) -> Sequence[Any]:
        """The data set cut into picklable pieces of some hundred rows, always the same ones."""

    def read(self, part: Any) -> Iterator[Example | Drop]:
        """The rows of one piece in order; a damaged row is a `Drop`, never an exception.

        Raises:
          OSError, ValueError: the whole piece cannot be read; the message names its file.
        """
