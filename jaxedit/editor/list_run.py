"""The run of `--batch`: a picture for each row of a list.

A manifest in the output folder gets a line for each row as soon as its picture is written. The same
command continues from the manifests: it skips a row if its picture carries the settings in one of
them, which says that it was made from the same input by the same request.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxedit.config import require
from jaxedit.console import BAD_INPUT, DONE
from jaxedit.editor import list_manifest
from jaxedit.editor.command import Command, compile_programs
from jaxedit.editor.list_file import Row
from jaxedit.editor.list_manifest import Entry
from jaxedit.engines.engine import run_jobs
from jaxedit.engines.options import Shard, ShardConfig
from jaxedit.progress import progress_bar

if TYPE_CHECKING:
    from jaxedit.editor.loaded_model import LoadedModel


class Part(NamedTuple):
    """Rows to make, with all that is needed; picklable, for an engine.

    Attributes:
      options: of the sampling method.
      request: all settings that every row has in common, as JSON values.
      rows: of the list.
      folder: of the pictures.
      shard: whose manifest is written.
    """

    command: Command
    options: dict[str, Any]
    request: Entry
    rows: Sequence[Row]
    folder: pathlib.Path
    shard: Shard | None

    def __str__(self) -> str:
        """Return the name in messages."""
        return f"shard {self.shard}"


def run_list(command: Command, config: ShardConfig) -> int:
    """Make every picture of a list that is not done; report bad rows and finish the others.

    Returns:
      The exit code.
    """
    args = command.args
    folder = pathlib.Path(args.output or command.folder)
    rows = command.rows(folder)
    _, options = command.sampling()
    request = {"model": command.name, **command.placement(), **command.input_options(), **options}
    request = json.loads(json.dumps(request))
    part = Part(command, options, request, rows, folder, config.shard)
    require(folder.is_dir() or not folder.exists(), f"{folder}: a file: expected a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with list_manifest.alone(folder, config.shard):
        return _run_alone(part, config)


def _run_alone(part: Part, config: ShardConfig) -> int:
    """Make the pictures of a list that are not done; return the exit code."""
    folder, rows = part.folder, part.rows if part.shard is None else part.shard.of(part.rows)
    if part.command.args.overwrite:
        list_manifest.forget(folder, part.shard)
        todo = list(rows)
    else:
        if part.shard is None:
            list_manifest.gather(folder, rows)
        todo = _undone(part._replace(rows=rows))
    if len(todo) < len(rows):
        skipped = f"{len(rows) - len(todo)} of {len(rows)} rows were done before"
        print(f"{folder}: {skipped} (--overwrite makes them again)")
    failed, start = 0, time.perf_counter()
    with progress_bar("pictures", len(todo)) as bar:
        for entry in _make_all(part._replace(rows=todo), bar.update, config):
            if entry["status"] == "failed":
                failed += 1
                print(f"error: {entry['row']}: {entry['error']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(todo) - failed} of {len(todo)} {part.command.done} in {seconds:.1f} s")
    return BAD_INPUT if failed else DONE


def make_part(part: Part, seen: Callable[[], object]) -> None:
    """Make the rows of a part that an earlier attempt, on another machine, has not made.

    Raises:
      ValueError, OSError: the model cannot be loaded, or the manifest cannot be written.
    """
    for _ in _make_here(part._replace(rows=_undone(part)), seen):
        pass


def _make_all(part: Part, seen: Callable[[], object], config: ShardConfig) -> Iterator[Entry]:
    """Make rows here or on an engine; yield their entries once these are in a manifest."""
    if not config.is_divided:
        yield from _make_here(part, seen)
        return
    shards = [Shard(i, config.workers) for i in range(min(config.workers, len(part.rows)))]
    parts = [part._replace(rows=shard.of(part.rows), shard=shard) for shard in shards]
    run_jobs(make_part, parts, seen, engine=config.engine, workers=config.workers)
    yield from list_manifest.gather(part.folder, part.rows)


def _make_here(part: Part, seen: Callable[[], object]) -> Iterator[Entry]:
    """Make rows and write their entries; load the model only if a row can be done."""
    with list_manifest.opened(list_manifest.path_of(part.folder, part.shard)) as manifest:
        for entry in _entries(part):
            entry |= {"request": part.request}
            list_manifest.write(manifest, entry)
            seen()
            yield entry


def _undone(part: Part) -> list[Row]:
    """Return the rows that no manifest lists as done, or whose picture is missing or another."""
    done = list_manifest.finished(part.folder)
    return [row for row in part.rows if not _is_done(part, row, done.get(row.output, {}))]


def _is_done(part: Part, row: Row, entry: Entry) -> bool:
    """Tell whether a row's picture and its entry record the same input and request."""
    from jaxedit.editor import provenance

    command = part.command
    same = command.describe(row) | {"seed": row.seed, "request": part.request}
    if row.error or not entry.items() >= same.items() or entry.get("mask", "") != row.mask:
        return False
    try:
        settings = provenance.read_settings(part.folder / row.output, command.purpose)
        return settings == entry["settings"] and settings.items() >= command.digests(row).items()
    except (ValueError, OSError, KeyError):  # no picture, or no source; the entry is damaged
        return False


def _entries(part: Part) -> Iterator[Entry]:
    """Yield the entry of each row once its picture is written."""
    command = part.command
    if all(row.error for row in part.rows):
        yield from (_failed(command, row, row.error) for row in part.rows)
        return
    model = command.load(rows_per_device=command.args.rows_per_device, every_device=True)
    compile_programs(model, part.options)
    model.text.prepare([row.text for row in part.rows if not row.error])
    for i in range(0, len(part.rows), model.rows):
        yield from _make_rows(part._replace(rows=part.rows[i : i + model.rows]), model)


def _make_rows(part: Part, model: "LoadedModel") -> list[Entry]:
    """Make the pictures that go to the devices together; return their manifest entries."""
    from jaxedit.editor import provenance

    command, folder = part.command, part.folder
    entries: list[Entry] = []
    ready: list[tuple[Entry, Row, Any]] = []  # entry, row and input of each row that can be made
    for row in part.rows:
        entry = {"row": row.place, **command.describe(row)}
        try:
            require(not row.error, row.error)
            source = command.read(row)
            command.check(model, row, source)
            (folder / row.output).parent.mkdir(parents=True, exist_ok=True)
            provenance.require_writable(folder / row.output)
            ready.append((entry, row, source))
        except (ValueError, OSError) as error:
            entry = _failed(command, row, str(error))
        entries.append(entry)
    if not ready:
        return entries
    _, rows, sources = zip(*ready, strict=True)
    results = command.make(model, sources, rows, **command.input_options(), **part.options)
    for (entry, row, _), result in zip(ready, results, strict=True):
        try:
            settings = command.settings(model, row, result)
            provenance.save_png(folder / row.output, result.image, settings)
            entry |= {"status": "ok", "output": row.output, "seed": row.seed, "settings": settings}
        except OSError as error:
            entry |= _failed(command, row, str(error))
    return entries


def _failed(command: Command, row: Row, error: str) -> Entry:
    return {"row": row.place, **command.describe(row), "status": "failed", "error": error}
