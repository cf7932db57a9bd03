"""The run of `--batch`: a picture for each row of a list.

`manifest.jsonl` in the output folder gets a line for each row as soon as its picture is written.
The same command continues from the manifest: it skips a row if the picture exists and the manifest
says that it was made from the same input by the same request.
"""

import json
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from jaxedit.config import require
from jaxedit.console import BAD_INPUT, DONE
from jaxedit.editor import list_file
from jaxedit.editor.command import Command, compile_programs
from jaxedit.editor.list_file import Row
from jaxedit.progress import progress_bar

if TYPE_CHECKING:
    from jaxedit.editor.loaded_model import LoadedModel

Entry = dict[str, Any]  # a line of the manifest


def run_list(command: Command) -> int:
    """Make every picture of a list that is not done; report bad rows and finish the others.

    Returns:
      The exit code.
    """
    args = command.args
    for name in command.single:
        value = getattr(args, name)
        require(value is None, f"--batch: expected no {name} beside it, found {value!r}")
    folder = pathlib.Path(args.output or command.folder)
    rows = list_file.read(pathlib.Path(args.batch), args.seed or 0, folder, keys=command.keys)
    _, options = command.sampling()
    # all settings that every row has in common, as JSON values
    request = {"model": command.name, **command.placement(), **command.input_options(), **options}
    request = json.loads(json.dumps(request))

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.jsonl"
    done = {} if args.overwrite else _finished(path)
    todo = [row for row in rows if row.error or not _is_done(command, row, folder, done, request)]
    if len(todo) < len(rows):
        skipped = f"{len(rows) - len(todo)} of {len(rows)} rows were done before"
        print(f"{folder}: {skipped} (--overwrite makes them again)")

    failed, start = 0, time.perf_counter()
    with _open_manifest(path, overwrite=args.overwrite) as manifest:
        for entry in _make_all(command, options, todo, folder):
            manifest.write(json.dumps(entry | {"request": request}) + "\n")
            manifest.flush()
            if entry["status"] == "failed":
                failed += 1
                print(f"error: {entry['row']}: {entry['error']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(todo) - failed} of {len(todo)} {command.done} in {seconds:.1f} s")
    return BAD_INPUT if failed else DONE


def _finished(path: pathlib.Path) -> dict[str, Entry]:
    """Return the newest entry of each finished row by its output; damaged lines are left out."""
    from jaxedit.data import json_lines

    try:
        lines = json_lines.read(path)
    except OSError:  # there is no manifest yet
        return {}
    return {e["output"]: e for e in (line.values for line in lines) if e.get("status") == "ok"}


def _is_done(
    command: Command, row: Row, folder: pathlib.Path, done: dict[str, Entry], request: Entry
) -> bool:
    """Tell whether a row's picture exists, made from the same input in the same way."""
    entry = done.get(row.output, {})
    same = command.describe(row) | {"seed": row.seed, "request": request}
    if not (folder / row.output).is_file() or not entry.items() >= same.items():
        return False
    try:
        return entry["settings"].items() >= command.digests(row).items()
    except (OSError, KeyError, AttributeError):  # the source is missing, or the entry is damaged
        return False


def _open_manifest(path: pathlib.Path, *, overwrite: bool) -> IO[str]:
    """Open the manifest to append lines; end a line that was cut short when a run was killed."""
    is_cut = not overwrite and path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    manifest = open(path, "w" if overwrite else "a", encoding="utf-8")
    manifest.write("\n" * is_cut)
    return manifest


def _make_all(
    command: Command, options: dict[str, Any], rows: Sequence[Row], folder: pathlib.Path
) -> Iterator[Entry]:
    """Yield the manifest entry of each row; load the model only if a row can be done."""
    if all(row.error for row in rows):
        yield from (_failed(command, row, row.error) for row in rows)
        return
    with progress_bar("pictures", len(rows)) as bar:
        model = command.load(rows_per_device=command.args.rows_per_device, every_device=True)
        compile_programs(model, options)
        model.text.prepare([row.text for row in rows if not row.error])
        for i in range(0, len(rows), model.rows):
            part = rows[i : i + model.rows]
            yield from _make_rows(command, model, options, part, folder)
            bar.update(len(part))


def _make_rows(
    command: Command,
    model: "LoadedModel",
    options: dict[str, Any],
    rows: Sequence[Row],
    folder: pathlib.Path,
) -> list[Entry]:
    """Make the pictures that go to the devices together; return their manifest entries."""
    from jaxedit.editor import provenance

    entries: list[Entry] = []
    ready: list[tuple[Entry, Row, Any]] = []  # entry, row and input of each row that can be made
    for row in rows:
        entry = {"row": row.place, **command.describe(row)}
        try:
            require(not row.error, row.error)
            model.check_text(row.text, strict=command.args.strict)
            source = command.read(row)
            (folder / row.output).parent.mkdir(parents=True, exist_ok=True)
            provenance.require_writable(folder / row.output)
            ready.append((entry, row, source))
        except (ValueError, OSError) as error:
            entry = _failed(command, row, str(error))
        entries.append(entry)
    if not ready:
        return entries
    _, rows, sources = zip(*ready, strict=True)
    results = command.make(model, sources, rows, **command.input_options(), **options)
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
