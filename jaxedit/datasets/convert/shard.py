"""Writing of a shard of a store, by a single process."""

import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxedit.data import record
from jaxedit.datasets.convert import store_pictures
from jaxedit.datasets.convert.folder import Folder, Report
from jaxedit.datasets.readers.example import Drop, Example, Published

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Job(NamedTuple):
    """The task of writing a shard."""

    published: Published  # the data set
    parts: Sequence[Any]  # the published pieces that go into the shard
    folder: Folder  # the store's directory
    index: int  # number of the shard
    store_px: int  # see `store_pictures.convert`

    def __str__(self) -> str:
        """Return the name in messages."""
        return f"shard {self.index}"


def write_shard(job: Job, seen: Callable[[], object]) -> None:
    """Write a shard and its report; a failure leaves no files behind.

    Args:
      seen: called after each piece, for the last piece when the shard is complete.

    Raises:
      OSError: the shard cannot be written, for example because the disk is full.
    """
    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

    report, hashes = Report(), []
    part = job.folder.part(job.index)
    try:
        writer = ArrayRecordWriter(str(part), record.WRITER)
        for number, piece in enumerate(job.parts):
            if number:
                seen()
            for row, encoded in _records(job, piece, report):
                writer.write(encoded)
                hashes.append(int(row.target_sha256[:16], 16))
        writer.close()
        report.bytes = part.stat().st_size
        reader = ArrayRecordReader(str(part))
        if reader.num_records() != report.pairs:
            raise OSError(f"{part}: {reader.num_records()} of {report.pairs} pairs were written")
        reader.close()
        job.folder.commit(job.index, part, report, np.array(hashes, np.uint64))
        seen()
    except RuntimeError as error:  # ArrayRecord's type for errors of the operating system
        raise OSError(f"{job.folder.path}: {str(error).split(';')[0]}") from error
    finally:
        part.unlink(missing_ok=True)


def _records(job: Job, piece: Any, report: Report) -> Iterator[tuple[record.Record, bytes]]:
    """Yield the pairs of a published piece and their bytes; count pairs and dropped rows.

    An error in a row drops only that row.
    """
    features = record.features(keeps_labels=job.published.keeps_labels)
    for row in _rows(job.published, piece, report):
        if isinstance(row, Drop):
            report.drop(*row)
        elif not row.instruction.strip():
            report.drop(row.key, "empty instruction")
        else:
            try:
                made = store_pictures.convert(
                    row, store_px=job.store_px, keeps_labels=job.published.keeps_labels
                )
                stored = _record(job, row, made)
                encoded = record.encode(stored, features)
            except store_pictures.Unusable as error:
                report.drop(row.key, str(error))
            except ValueError as error:  # an unforeseen error in a text or picture
                report.drop(row.key, f"not converted ({type(error).__name__})")
            else:
                report.pairs += 1
                report.tasks[row.task] += 1
                report.masks += row.mask is not None
                report.reshaped += made.is_reshaped
                yield stored, encoded


def _rows(published: Published, piece: Any, report: Report) -> Iterator[Example | Drop]:
    """Yield the rows of a piece until the end, or until the piece cannot be read."""
    try:
        yield from published.read(piece)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _FULL:
            raise
        lines = str(error).splitlines()
        report.unreadable.append(lines[0] if lines else type(error).__name__)


def _record(job: Job, example: Example, made: store_pictures.Pictures) -> record.Record:
    name, fields = job.published.name, example._asdict() | made._asdict()
    key, group, _ = (fields.pop(field) for field in ("key", "group", "is_reshaped"))
    return record.Record(
        id=f"{name}/{record.SPLIT}/{key}",
        group_id=f"{name}/{group or key}",
        dataset=name,
        target_sha256=hashlib.sha256(example.target).hexdigest(),
        **fields,
    )
