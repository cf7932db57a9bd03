"""Edits of all rows of a list: `python -m jaxedit --batch`.

`manifest.jsonl` in the output folder gets one line for each row as soon as its picture is there.
The same command goes on from it: a row is skipped if its picture is there and the manifest says
that it was made from the same picture by the same request.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from jaxedit.config import require
from jaxedit.console import BAD_INPUT, DONE
from jaxedit.editor import preparation
from jaxedit.progress import progress_bar

if TYPE_CHECKING:
    from jaxedit.editor.edit_list import Row
    from jaxedit.editor.editor import Editor


def edit_list(args: argparse.Namespace) -> int:
    """Edit every row of a list that is not done; bad rows are reported and the others finished."""
    from jaxedit.editor import edit_list

    require(args.photo is None, f"--batch: expected no photo beside it, found {args.photo!r}")
    require(args.diagnostics is None, "--diagnostics: expected one photo, not a list")
    require(args.task is None, "--task: expected one photo, not a list")
    folder = pathlib.Path(args.output or "edits")
    rows = edit_list.read(pathlib.Path(args.batch), args.seed or 0, folder)
    name, _, options = preparation.checked(args)
    request = {"model": name, **preparation.placement(args), **preparation.shape(args), **options}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.jsonl"
    done = {} if args.overwrite else _done(path)
    todo = [row for row in rows if row.error or not _is_done(row, folder, done, request)]
    if len(todo) < len(rows):
        skipped = f"{len(rows) - len(todo)} of {len(rows)} rows were done before"
        print(f"{folder}: {skipped} (--overwrite makes them again)")
    failed, start = 0, time.perf_counter()
    with _manifest(path, begin=args.overwrite) as manifest:
        for entry in _edit_all(args, name, options, todo, folder):
            manifest.write(json.dumps(entry | {"request": request}) + "\n")
            manifest.flush()
            if entry["status"] == "failed":
                failed += 1
                print(f"error: {entry['row']}: {entry['error']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(todo) - failed} of {len(todo)} edited in {seconds:.1f} s")
    return BAD_INPUT if failed else DONE


def _done(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return the newest entry of each finished row by its output; damaged lines are left out."""
    from jaxedit.data import json_lines

    try:
        lines = json_lines.read(path)
    except (OSError, ValueError):  # none yet, or not one whole line
        return {}
    return {e["output"]: e for e in (line.values for line in lines) if e.get("status") == "ok"}


def _is_done(
    row: "Row", folder: pathlib.Path, done: dict[str, dict[str, Any]], request: dict[str, Any]
) -> bool:
    """Tell whether the picture of a row is there, made from the same source in the same way."""
    from jaxedit.editor import provenance

    entry = done.get(row.output, {})
    same = {"image": row.image, "instruction": row.instruction, "seed": row.seed}
    same |= {"request": json.loads(json.dumps(request))}
    if not (folder / row.output).is_file() or any(entry.get(k) != v for k, v in same.items()):
        return False
    try:
        return entry["settings"]["source_sha256"] == provenance.sha256(row.image)
    except (OSError, KeyError, TypeError):
        return False


def _manifest(path: pathlib.Path, *, begin: bool) -> IO[str]:
    """Open the manifest for more lines; one that a kill cut short is ended first."""
    is_cut = not begin and path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    manifest = open(path, "w" if begin else "a", encoding="utf-8")
    manifest.write("\n" * is_cut)
    return manifest


def _edit_all(
    args: argparse.Namespace,
    name: str,
    options: dict[str, Any],
    rows: Sequence["Row"],
    folder: pathlib.Path,
) -> Iterator[dict[str, Any]]:
    """Edit rows on all devices; nothing is loaded if none can be edited."""
    if all(row.error for row in rows):
        yield from (_failed(row, row.error) for row in rows)
        return
    with progress_bar("edits", len(rows)) as bar:
        several = {"rows_per_device": args.rows_per_device, "every_device": True}
        editor = preparation.load(name, **preparation.placement(args), **several)
        preparation.compile(editor, options)
        editor.read_texts([row.instruction for row in rows if not row.error])
        for i in range(0, len(rows), editor.rows):
            part = rows[i : i + editor.rows]
            yield from _edit_rows(editor, part, folder, options | preparation.shape(args))
            bar.update(len(part))


def _edit_rows(
    editor: "Editor", rows: Sequence["Row"], folder: pathlib.Path, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Edit the rows that go to the devices together; returns their manifest entries."""
    from jaxedit.data.pictures import photo
    from jaxedit.editor import provenance

    entries: list[dict[str, Any]] = []
    ready, pictures = [], []
    for row in rows:
        entry = {"row": row.place, "image": row.image, "instruction": row.instruction}
        try:
            require(not row.error, row.error)
            editor.check_instruction(row.instruction, strict=options["strict"])
            (folder / row.output).parent.mkdir(parents=True, exist_ok=True)
            provenance.require_writable(folder / row.output)
            pictures.append(photo.read(row.image))
            ready.append((entry, row))
        except (ValueError, OSError) as error:
            entry = _failed(row, str(error))
        entries.append(entry)
    if not ready:
        return entries
    instructions, seeds = [row.instruction for _, row in ready], [row.seed for _, row in ready]
    results = editor.edit_batch(pictures, instructions, seeds=seeds, **options)
    for (entry, row), result in zip(ready, results, strict=True):
        try:
            settings = result.settings | preparation.origin(editor, row.image)
            provenance.save_png(folder / row.output, result.image, settings)
            entry |= {"status": "ok", "output": row.output, "seed": row.seed, "settings": settings}
        except OSError as error:
            entry |= _failed(row, str(error))
    return entries


def _failed(row: "Row", error: str) -> dict[str, Any]:
    entry = {"row": row.place, "image": row.image, "instruction": row.instruction}
    return entry | {"status": "failed", "error": error}
