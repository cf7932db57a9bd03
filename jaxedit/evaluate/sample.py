"""The samples of a benchmark: what is edited, and what an edit is compared with."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image

# A picture file, its content, or a picklable function that reads its content
Picture = pathlib.Path | bytes | Callable[[], bytes]


def content(picture: Picture) -> bytes:
    """Return an encoded picture.

    Raises:
      OSError, ValueError: the picture cannot be read; the message names its file.
    """
    if isinstance(picture, pathlib.Path):
        return picture.read_bytes()
    return picture() if callable(picture) else picture


@dataclasses.dataclass(frozen=True)
class Sample:
    """An edit that a benchmark asks for; pictures are decoded when they are needed."""

    key: str  # unique; also the path of the edit below the folder of edits, without a suffix
    source: Picture
    instruction: str
    type: str = ""  # category in the benchmark's tables
    task: str = "edit"  # or depth, canny, segmentation: the source is a condition picture
    source_prompt: str = ""  # caption of the source
    target_prompt: str = ""  # caption of the edited picture
    target: Picture | None = None  # reference: the edit, or for a condition the photograph
    mask: Bool[np.ndarray, "H W"] | None = None  # True where the source is to be edited
    labels: Picture | None = None  # classes of the pixels, or a depth map


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Samples in a fixed order, and how their edits are scored."""

    name: str
    samples: Sequence[Sample]
    scores: tuple[str, ...]  # names in `scores.SCORES`, in the order of the paper's columns
    judge: str = ""  # name in `judges.JUDGES`, or none
    # Height and width at which edits are scored; None: of the target, or else of the source
    size: tuple[int, int] | None = None
    average: str = "samples"  # mean of all samples, or of the means of all "types"
    is_editable: bool = True  # False: a model cannot edit the samples, as sources are edits
    # Finds the edit of a sample in a folder of another program; None: by its key
    find_edit: Callable[[pathlib.Path, Sample], pathlib.Path | None] | None = None
    # Cuts the edit out of a picture of another program, before it is resized; None: it is the edit
    crop_edit: Callable[[Image.Image], Image.Image] | None = None
