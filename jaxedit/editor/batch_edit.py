"""Edits of all rows of a list: `python -m jaxedit --batch`."""

import argparse
import functools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.config import require
from jaxedit.editor import preparation
from jaxedit.editor.list_run import run_list

if TYPE_CHECKING:
    from PIL import Image

    from jaxedit.editor.edit_list import Row
    from jaxedit.editor.editor import Editor
    from jaxedit.editor.pipeline import EditResult


class EditWork:
    """Edits the pictures of rows by their instructions; see `list_run.Work`."""

    done = "edited"

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        """Take the model's name, and the options of `Editor.edit_batch`."""
        self.load = functools.partial(preparation.load_editor, name)
        self._options = options

    def describe(self, row: "Row") -> dict[str, Any]:
        """See `list_run.Work`."""
        return {"image": row.image, "instruction": row.text}

    def is_same(self, row: "Row", settings: dict[str, Any]) -> bool:
        """See `list_run.Work`: the photo has the same bytes."""
        from jaxedit.editor import provenance

        return settings["source_sha256"] == provenance.sha256(row.image)

    def read(self, model: "Editor", row: "Row") -> "Image.Image":
        """See `list_run.Work`: the photo."""
        from jaxedit.data.pictures import photo

        model.check_instruction(row.text, strict=self._options["strict"])
        return photo.read(row.image)

    def make(
        self, model: "Editor", inputs: Sequence["Image.Image"], rows: Sequence["Row"]
    ) -> "list[EditResult]":
        """See `list_run.Work`."""
        texts, seeds = [row.text for row in rows], [row.seed for row in rows]
        return model.edit_batch(inputs, texts, seeds=seeds, **self._options)

    def settings(self, model: "Editor", row: "Row", result: "EditResult") -> dict[str, Any]:
        """See `list_run.Work`."""
        return result.settings | preparation.origin(model, row.image)


def edit_list(args: argparse.Namespace) -> int:
    """Edit every row of a list that is not done; bad rows are reported and the others finished."""
    from jaxedit.editor import edit_list

    require(args.photo is None, f"--batch: expected no photo beside it, found {args.photo!r}")
    require(args.diagnostics is None, "--diagnostics: expected one photo, not a list")
    require(args.task is None, "--task: expected one photo, not a list")
    folder = pathlib.Path(args.output or "edits")
    rows = edit_list.read(pathlib.Path(args.batch), args.seed or 0, folder)
    name, _, options = preparation.checked_edit(args)
    request = {"model": name, **preparation.placement(args), **preparation.shape(args), **options}
    work = EditWork(name, options | preparation.shape(args))
    return run_list(args, work, rows, folder, options, request)
