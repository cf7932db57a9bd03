"""Edits of all rows of a list: `python -m jaxedit --batch`."""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit import preparation
from jaxedit.config import require
from jaxedit.console import BAD_INPUT, DONE

if TYPE_CHECKING:
    from jaxedit.editor import Editor


def edit_list(args: argparse.Namespace) -> int:
    """Every row of a list; bad rows are reported and the others finished."""
    from jaxedit.data import edit_list

    require(args.photo is None, f"--batch: expected no photo beside it, found {args.photo!r}")
    require(args.diagnostics is None, "--diagnostics: expected one photo, not a list")
    require(args.task is None, "--task: expected one photo, not a list")
    folder = pathlib.Path(args.output or "edits")
    rows = edit_list.read(pathlib.Path(args.batch), args.seed or 0)
    name, _, options = preparation.checked(args)
    folder.mkdir(parents=True, exist_ok=True)
    failed, start = 0, time.perf_counter()
    with (
        open(folder / "manifest.jsonl", "w", encoding="utf-8") as manifest,
        preparation.bar(total=len(rows), unit="edit") as bar,
    ):
        several = {"rows_per_device": args.rows_per_device, "every_device": True}
        editor = preparation.load(name, **preparation.placement(args), **several)
        preparation.compile(editor, options)
        editor.read_texts([row.instruction for row in rows if not row.error])
        for i in range(0, len(rows), editor.rows):
            for entry in _edit_rows(
                editor, rows[i : i + editor.rows], folder, options | preparation.shape(args)
            ):
                manifest.write(json.dumps(entry) + "\n")
                manifest.flush()
                bar.update()
                if entry["status"] == "failed":
                    failed += 1
                    print(f"error: {entry['row']}: {entry['error']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(rows) - failed} of {len(rows)} edited in {seconds:.1f} s")
    return BAD_INPUT if failed else DONE


def _edit_rows(editor: "Editor", rows: Sequence[Any], folder: pathlib.Path, options: dict) -> list:
    """Manifest entries of the rows that go to the devices together."""
    from jaxedit.data import photo, provenance

    entries: list[dict[str, Any]] = []
    ready, pictures = [], []
    for row in rows:
        entry = {"row": row.place, "image": row.image, "instruction": row.instruction}
        entries.append(entry)
        try:
            require(not row.error, row.error)
            editor.check_instruction(row.instruction, strict=options["strict"])
            (folder / row.output).parent.mkdir(parents=True, exist_ok=True)
            provenance.require_writable(folder / row.output)
            pictures.append(photo.read(row.image))
            ready.append((entry, row))
        except (ValueError, OSError) as error:
            entry |= {"status": "failed", "error": str(error)}
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
            entry |= {"status": "failed", "error": str(error)}
    return entries
