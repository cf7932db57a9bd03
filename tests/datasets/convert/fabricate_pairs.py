"""A user's own pairs for tests, and the records of a shard."""

import pathlib
from collections.abc import Iterator

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from PIL import Image

from jaxedit.data import record


def picture(path: pathlib.Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    """Return a picture file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def folder(directory: pathlib.Path, count: int, *, masks: bool = False) -> pathlib.Path:
    """Write source/, target/, instruction/ and perhaps mask/ of `count` pairs."""
    for i in range(count):
        name = f"p{i:03}"
        picture(directory / "source" / f"{name}.jpg", 2 * i)
        picture(directory / "target" / f"{name}.png", 2 * i + 1)
        text = directory / "instruction" / f"{name}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text(f"make it {i}\n")
        if masks:
            (directory / "mask").mkdir(exist_ok=True)
            Image.new("L", (48, 40), 255).save(directory / "mask" / f"{name}.png")
    return directory


def records(shard: pathlib.Path) -> Iterator[record.Record]:
    """Return the records of a shard without label maps."""
    features = record.features(keeps_labels=False)
    reader = ArrayRecordReader(str(shard))
    for data in reader.read_all():
        yield record.decode(features.deserialize_example_np(data, decoders=record.decoders()))
    reader.close()
