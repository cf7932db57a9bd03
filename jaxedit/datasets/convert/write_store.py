"""Conversion of a published data set to a store: parallel, resumable, with a report of drops."""

import hashlib
import math
import sys
from collections.abc import Sequence
from typing import Any

from jaxedit.config import require
from jaxedit.data import record
from jaxedit.data.store import METADATA
from jaxedit.datasets.convert.folder import Folder, Report, write_json
from jaxedit.datasets.convert.shard import Job, write_shard
from jaxedit.datasets.convert.store_config import StoreConfig
from jaxedit.datasets.readers import open_published
from jaxedit.datasets.readers.example import Published
from jaxedit.engines.engine import run_jobs
from jaxedit.progress import progress_bar

_PARTS = 20  # published pieces per shard, a few thousand pairs
_SPREAD = 16  # shards of a small data set, so that several processes share the work


def convert(config: StoreConfig) -> Report:
    """Write the store, or its missing shards.

    Returns:
      The counts of converted and dropped rows.

    Raises:
      ConfigError: a setting is wrong, or there is nothing to store.
      OSError: a file cannot be written, or published pieces cannot be read.
    """
    config.validate()
    published = open_published(config.dataset, config.src, config.scratch)
    parts = list(published.parts())
    require(bool(parts), f"--src={config.src}: expected rows of {config.dataset}, found none")
    default = max(math.ceil(len(parts) / _PARTS), min(len(parts), _SPREAD))
    shards = min(config.shards or default, len(parts))
    folder = Folder(config.out, published.name, shards)
    with folder.locked():
        folder.begin(_settings(config, parts, shards), overwrite=config.overwrite)
        reports = [folder.report_of(index) for index in range(shards)]
        missing = [i for i, report in enumerate(reports) if not report or report.unreadable]
        if missing:
            (folder.path / METADATA).unlink(missing_ok=True)
        else:  # the published pictures may have changed in the meantime
            print(
                f"{config.out}: converted before; use --overwrite to start again", file=sys.stderr
            )
        jobs = [Job(published, parts[i::shards], folder, i, config.store_px) for i in missing]
        with progress_bar(f"pieces of {published.name}", len(parts)) as bar:
            bar.update(len(parts) - sum(len(job.parts) for job in jobs))
            workers = min(config.workers, max(len(jobs), 1))
            run_jobs(write_shard, jobs, bar.update, engine=config.engine, workers=workers)
        return _finish(config, folder, published)


def _settings(config: StoreConfig, parts: Sequence[Any], shards: int) -> dict[str, Any]:
    """Return the settings that must not change when a conversion is resumed."""
    return {
        "dataset": config.dataset,
        "src": str(config.src.absolute()),
        "shards": shards,
        "store_px": config.store_px,
        "src_contents": hashlib.sha256(repr(parts).encode()).hexdigest()[:12],
        "version": record.VERSION,
    }


def _finish(config: StoreConfig, folder: Folder, published: Published) -> Report:
    """Add up the reports and, if the store is complete, write the metadata."""
    reports = [folder.report_of(index) for index in range(folder.shards)]
    total = Report.total(reports)
    values = {"dataset": published.name, "rows": total.rows, **total.as_json()}
    values["duplicate_targets"] = folder.duplicate_targets()
    write_json(folder.path / "report.json", values)
    if total.unreadable and not config.skip_unreadable:
        raise OSError(
            f"{len(total.unreadable)} published pieces cannot be read, the first: "
            f"{total.unreadable[0]}; {folder.path / 'report.json'} lists all. Repair them and run "
            "again, or leave them out with --skip_unreadable"
        )
    require(total.pairs > 0, f"--src={config.src}: nothing to store: {total.summary()}")
    _write_metadata(folder, published, reports)
    return total


def _write_metadata(folder: Folder, published: Published, reports: Sequence[Report]) -> None:
    import tensorflow_datasets as tfds

    split = tfds.core.SplitInfo(
        name=record.SPLIT,
        shard_lengths=[report.pairs for report in reports],
        num_bytes=sum(report.bytes for report in reports),
    )
    try:
        tfds.folder_dataset.write_metadata(
            data_dir=folder.path,
            features=record.features(keeps_labels=published.keeps_labels),
            split_infos=[split],
            version=record.VERSION,
            check_data=False,  # the check would need TensorFlow
        )
    except OSError:
        (folder.path / METADATA).unlink(missing_ok=True)
        raise
