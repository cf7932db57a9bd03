"""Small stores for tests, in the format of the converter."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from jaxedit.data import record
from jaxedit.data.record import Record


def picture(colour: int | tuple[int, int, int], size: tuple[int, int] = (24, 16)) -> bytes:
    """Return a PNG file of a single colour; an int means grey."""
    file = io.BytesIO()
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def make_record(number: int, dataset: str = "pipe", **changes: object) -> Record:
    """Return the record of row `number`; the red of its source is the number."""
    return Record(
        id=f"{dataset}/train/{number}",
        group_id=f"{dataset}/{number}",
        dataset=dataset,
        task="edit",
        edit_type=2,
        edit_type_raw="",
        turn=0,
        source=picture((number, 0, 0)),
        target=picture((number, 255, 0)),
        mask=None,
        instruction=f"Add a thing {number}",
        source_caption="",
        target_caption="",
        score=-1.0,
        orig_hw=(16, 24),
        target_sha256="",
    )._replace(**changes)


def write_store(
    directory: pathlib.Path,
    records: Sequence[Record],
    shards: int = 2,
    *,
    version: str = record.VERSION,
) -> pathlib.Path:
    """Write a store; each shard gets a block of rows."""
    directory.mkdir(parents=True, exist_ok=True)
    features, name = record.features(keeps_labels=False), directory.name.replace("-", "_")
    lengths, size = [], 0
    for shard, rows in enumerate(np.array_split(np.arange(len(records)), shards)):
        file = directory / f"{name}-train.array_record-{shard:05d}-of-{shards:05d}"
        writer = ArrayRecordWriter(str(file), record.WRITER)
        for row in rows:
            writer.write(record.encode(records[row], features))
        writer.close()
        lengths.append(len(rows))
        size += file.stat().st_size
    template = tfds.core.ShardedFileTemplate(
        dataset_name=name,
        data_dir=directory,
        split=record.SPLIT,
        filetype_suffix="array_record",
    )
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=features,
        split_infos=[tfds.core.SplitInfo(record.SPLIT, lengths, size, template)],
        version=version,
        check_data=False,
    )
    return directory
