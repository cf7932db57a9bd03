"""What differs from picture to picture in a batch of edits."""

from typing import Any, NamedTuple


class Rows(NamedTuple):
    """B edits.

    pixels: u8[B,S,S,3]; ids: i32[B,T]; mask: bool[B,T], True at tokens; seeds: i32[B].
    """

    pixels: Any
    ids: Any
    mask: Any
    seeds: Any
