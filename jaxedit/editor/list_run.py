"""All rows of a list, one picture each: what `--batch` does, whatever the command makes.

`manifest.jsonl` in the output folder gets one line for each row as soon as its picture is there.
The same command goes on from it: a row is skipped if its picture is there and the manifest says
that it was made from the same input by the same request.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

from jaxedit.config import require
from jaxedit.console import BAD_INPUT, DONE
from jaxedit.editor import preparation
from jaxedit.progress import progress_bar

if TYPE_CHECKING:
    from jaxedit.editor.edit_list import Row
    from jaxedit.editor.loaded_model import LoadedModel
    from jaxedit.editor.pipeline import EditResult, GenerateResult


class Work(Protocol):
    """What is done with the rows of a list."""

    done: str  # in words: edited

    def describe(self, row: "Row") -> dict[str, Any]:
        """Return what a row asks for, as its entries in the manifest tell it."""

    def is_same(self, row: "Row", settings: dict[str, Any]) -> bool:
        """Tell whether a picture with these settings was made from the files of a row."""

    def load(self, **options: Any) -> "LoadedModel":
        """Return the model, ready to run."""

    def read(self, model: Any, row: "Row") -> Any:
        """Return what a row's picture is made from, checked.

        Raises:
          ValueError, OSError: the row cannot be done.
        """

    def make(
        self, model: Any, inputs: Sequence[Any], rows: Sequence["Row"]
    ) -> "list[EditResult] | list[GenerateResult]":
        """Return the pictures of the rows that go to the devices together."""

    def settings(
        self, model: Any, row: "Row", result: "EditResult | GenerateResult"
    ) -> dict[str, Any]:
        """Return all that makes a picture again."""


def run_list(
    args: argparse.Namespace,
    work: Work,
    rows: Sequence["Row"],
    folder: pathlib.Path,
    options: dict[str, Any],
    request: dict[str, Any],
) -> int:
    """Do every row of a list that is not done; bad rows are reported and the others finished.

    Args:
      args: of the command.
      work: what is done.
      rows: of the list.
      folder: where pictures and manifest are written.
      options: the sampling method and its settings.
      request: all settings that every row has in common, as JSON values.

    Returns:
      The exit code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.jsonl"
    done = {} if args.overwrite else _done(path)
    todo = [row for row in rows if row.error or not _is_done(work, row, folder, done, request)]
    if len(todo) < len(rows):
        skipped = f"{len(rows) - len(todo)} of {len(rows)} rows were done before"
        print(f"{folder}: {skipped} (--overwrite makes them again)")
    failed, start = 0, time.perf_counter()
    with _manifest(path, begin=args.overwrite) as manifest:
        for entry in _do_all(args, work, options, todo, folder):
            manifest.write(json.dumps(entry | {"request": request}) + "\n")
            manifest.flush()
            if entry["status"] == "failed":
                failed += 1
                print(f"error: {entry['row']}: {entry['error']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(todo) - failed} of {len(todo)} {work.done} in {seconds:.1f} s")
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
    work: Work,
    row: "Row",
    folder: pathlib.Path,
    done: dict[str, dict[str, Any]],
    request: dict[str, Any],
) -> bool:
    """Tell whether the picture of a row is there, made from the same input in the same way."""
    entry = done.get(row.output, {})
    same = work.describe(row) | {"seed": row.seed, "request": json.loads(json.dumps(request))}
    if not (folder / row.output).is_file() or any(entry.get(k) != v for k, v in same.items()):
        return False
    try:
        return work.is_same(row, entry["settings"])
    except (OSError, KeyError, TypeError):
        return False


def _manifest(path: pathlib.Path, *, begin: bool) -> IO[str]:
    """Open the manifest for more lines; one that a kill cut short is ended first."""
    is_cut = not begin and path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    manifest = open(path, "w" if begin else "a", encoding="utf-8")
    manifest.write("\n" * is_cut)
    return manifest


def _do_all(
    args: argparse.Namespace,
    work: Work,
    options: dict[str, Any],
    rows: Sequence["Row"],
    folder: pathlib.Path,
) -> Iterator[dict[str, Any]]:
    """Do rows on all devices; nothing is loaded if none can be done."""
    if all(row.error for row in rows):
        yield from (_failed(work, row, row.error) for row in rows)
        return
    with progress_bar("pictures", len(rows)) as bar:
        several = {"rows_per_device": args.rows_per_device, "every_device": True}
        model = work.load(**preparation.placement(args), **several)
        preparation.compile(model, options)
        model.read_texts([row.text for row in rows if not row.error])
        for i in range(0, len(rows), model.rows):
            part = rows[i : i + model.rows]
            yield from _do_rows(work, model, part, folder)
            bar.update(len(part))


def _do_rows(
    work: Work, model: "LoadedModel", rows: Sequence["Row"], folder: pathlib.Path
) -> list[dict[str, Any]]:
    """Do the rows that go to the devices together; returns their manifest entries."""
    from jaxedit.editor import provenance

    entries: list[dict[str, Any]] = []
    ready, inputs = [], []
    for row in rows:
        entry = {"row": row.place, **work.describe(row)}
        try:
            require(not row.error, row.error)
            read = work.read(model, row)
            (folder / row.output).parent.mkdir(parents=True, exist_ok=True)
            provenance.require_writable(folder / row.output)
            inputs.append(read)
            ready.append((entry, row))
        except (ValueError, OSError) as error:
            entry = _failed(work, row, str(error))
        entries.append(entry)
    if not ready:
        return entries
    results = work.make(model, inputs, [row for _, row in ready])
    for (entry, row), result in zip(ready, results, strict=True):
        try:
            settings = work.settings(model, row, result)
            provenance.save_png(folder / row.output, result.image, settings)
            entry |= {"status": "ok", "output": row.output, "seed": row.seed, "settings": settings}
        except OSError as error:
            entry |= _failed(work, row, str(error))
    return entries


def _failed(work: Work, row: "Row", error: str) -> dict[str, Any]:
    return {"row": row.place, **work.describe(row), "status": "failed", "error": error}
