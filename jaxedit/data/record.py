"""A pair as stored on disk: a TFDS example in ArrayRecord files, which need no TensorFlow.

A store is a directory that `tfds.builder_from_directory` opens: shards of ArrayRecord, with a
single record per group so that any record can be read alone, and metadata, which are written last.
Pictures stay encoded; training decodes them.
"""

import functools
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

VERSION = "1.0.0"  # version of the fields below
SPLIT = "train"
WRITER = "group_size:1,zstd:3"  # ArrayRecord's options
TASKS = ("edit", "depth", "canny", "segmentation", "hed", "recon")
CAPTIONED = ("depth", "canny", "segmentation", "hed")  # tasks whose text describes the target
_TEXTS = ("id", "group_id", "dataset", "edit_type_raw", "instruction")
_TEXTS += ("source_caption", "target_caption", "target_sha256")
_PICTURES = ("source", "target", "mask")


class Record(NamedTuple):
    """A stored pair; source, target and mask have the same height and width."""

    id: str  # <dataset>/<split>/<key>, unique
    group_id: str  # <dataset>/<group> of pairs that must stay in one split, such as turns
    dataset: str  # name of the data set
    task: str  # one of `TASKS`
    edit_type: int  # PIE-Bench's 0 ... 9, or -1
    edit_type_raw: str  # the edit type in the data set's own words
    turn: int  # 1, 2, ... in a conversation, 0 otherwise
    source: bytes  # JPEG file; PNG where sources are label maps
    target: bytes  # JPEG file
    mask: bytes | None  # one-channel PNG file, 255 where the edit may change pixels; None: unknown
    instruction: str  # for maps the caption of the target
    source_caption: str  # what the source shows, or ""
    target_caption: str  # what the target shows, or ""
    score: float  # the data set's own quality score, or -1
    orig_hw: tuple[int, int]  # (H, W) of the published source, upright
    target_sha256: str  # hexadecimal, of the published target file


def features(*, keeps_labels: bool) -> Any:
    """Return the TFDS `FeaturesDict` of a store.

    Args:
      keeps_labels: whether sources are label maps, stored as PNG.
    """
    from tensorflow_datasets import features as tfds

    def picture(encoding: str, channels: int) -> tfds.Image:
        return tfds.Image(shape=(None, None, channels), encoding_format=encoding)

    return tfds.FeaturesDict(
        {
            **{name: tfds.Text() for name in _TEXTS},
            "task": tfds.ClassLabel(names=TASKS),
            "edit_type": np.int64,
            "turn": np.int64,
            "source": picture("png" if keeps_labels else "jpeg", 3),
            "target": picture("jpeg", 3),
            "mask": picture("png", 1),
            "has_mask": np.bool_,
            "score": np.float32,
            "orig_hw": tfds.Tensor(shape=(2,), dtype=np.int64),
        }
    )


def encode(record: Record, features: Any) -> bytes:
    """Encode a record as the bytes that a shard of a store with these features holds.

    Raises:
      ValueError: the task is unknown.
    """
    if record.task not in TASKS:
        raise ValueError(f"task {record.task!r}: expected one of {', '.join(TASKS)}")
    values = record._asdict()
    for name in _TEXTS:  # JSON can hold halves of surrogate pairs, UTF-8 cannot
        values[name] = values[name].encode("utf-8", "replace").decode()
    values["has_mask"] = record.mask is not None
    values["mask"] = _no_mask() if record.mask is None else record.mask
    values |= {name: io.BytesIO(values[name]) for name in _PICTURES}
    values["orig_hw"] = np.array(record.orig_hw, np.int64)
    return features.serialize_example(features.encode_example(values))


def decoders() -> dict[str, Any]:
    """Return the decoders for `as_data_source` that give pictures as the bytes of their files."""
    import tensorflow_datasets as tfds

    return {name: tfds.decode.SkipDecoding() for name in _PICTURES}


def decode(example: Mapping[str, Any]) -> Record:
    """Return the record of an example that TFDS read with `decoders`."""
    texts = {name: example[name].decode() for name in _TEXTS}
    height, width = example["orig_hw"]
    return Record(
        **texts,
        task=TASKS[example["task"]],
        edit_type=int(example["edit_type"]),
        turn=int(example["turn"]),
        source=example["source"],
        target=example["target"],
        mask=example["mask"] if example["has_mask"] else None,
        score=float(example["score"]),
        orig_hw=(int(height), int(width)),
    )


@functools.cache
def _no_mask() -> bytes:
    """Return a PNG file of a single black pixel, which stands for a mask that is not known."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    return file.getvalue()
